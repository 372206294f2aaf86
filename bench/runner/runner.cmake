# The runner lies beside the built workloads, where `neap bench` looks for both; what is installed has the same shape.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
file(CREATE_LINK ${CMAKE_CURRENT_LIST_DIR} ${PROJECT_BINARY_DIR}/bench/runner SYMBOLIC)

if(NOT NEAP_INSTALL)
  return()
endif()
set(bench_install_dir ${CMAKE_INSTALL_LIBDIR}/neap/bench)
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_CURRENT_LIST_DIR}/../apps DESTINATION ${bench_install_dir}
  PATTERN "__pycache__" EXCLUDE PATTERN "*.[ch]" EXCLUDE PATTERN "*.cmake" EXCLUDE PATTERN "CMakeLists.txt" EXCLUDE)
foreach(program neap-scenarios neap-micro tcp-threads tcp-epoll)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${bench_install_dir})
  endif()
endforeach()
