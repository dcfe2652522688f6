# What find_package(ringlet) reads: the libraries beneath, then the target ringlet::ringlet.
include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/ringletTargets.cmake)
