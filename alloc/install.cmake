# What `cmake --install` puts where, and the names under which other projects link to neap, here and in a tree that
# has it as a subdirectory. Nothing that is installed holds an absolute path: the tree may be moved as a whole.
add_library(neap::neap ALIAS neap)
add_library(neap::static ALIAS neap_static)
add_library(neap::core ALIAS neap_core)
set_target_properties(neap_static PROPERTIES EXPORT_NAME static)
set_target_properties(neap_core PROPERTIES EXPORT_NAME core)
target_link_libraries(neap_static INTERFACE pthread)
target_link_libraries(neap_core INTERFACE pthread)

# Who links to neap::neap or neap::static gets neap's malloc, also a program that names none of its functions itself
# because only the libraries behind it allocate. The second mention of the shared library is not CMake's to sort.
target_link_options(neap_static INTERFACE LINKER:--undefined=neap_state)
target_link_libraries(neap INTERFACE
  -Wl,--push-state,--no-as-needed $<TARGET_LINKER_FILE:neap::neap> -Wl,--pop-state)

if(NOT NEAP_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/neap)
install(FILES ${PROJECT_SOURCE_DIR}/include/neap/neap.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/neap)
install(TARGETS neap neap_static neap_core EXPORT neap-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT neap-targets NAMESPACE neap:: DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/neap-config-version.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/neap-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/neap-config-version.cmake
  DESTINATION ${package_dir})

# A page stands under the name of each function that it names.
set(man ${PROJECT_SOURCE_DIR}/docs/man)
install(FILES ${man}/neap.7 DESTINATION ${CMAKE_INSTALL_MANDIR}/man7)
file(GLOB pages CONFIGURE_DEPENDS ${man}/*.3)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
foreach(page ${pages})
  get_filename_component(file ${page} NAME)
  file(STRINGS ${page} lines REGEX "^\\.Nm ")
  list(TRANSFORM lines REPLACE "^\\.Nm ([A-Za-z_]+).*" "\\1.3")
  list(REMOVE_ITEM lines ${file})
  foreach(alias ${lines})
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/man3/${alias} ".so man3/${file}\n")
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/man3/${alias} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
  endforeach()
endforeach()

file(RELATIVE_PATH includedir_from_pkgconfig
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
foreach(package neap neap-core)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${package}.pc.in ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
