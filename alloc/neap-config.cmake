# find_package(neap): neap::neap is the shared library, neap::static the archive that takes malloc's place, and
# neap::core the one with neap_ names only, beside the process's malloc.
include(${CMAKE_CURRENT_LIST_DIR}/neap-targets.cmake)
