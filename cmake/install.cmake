# `cmake --install`: the library with its headers, CMake and pkg-config files (the component
# `development`) and the example programs as ringlet-NAME (`programs`). `cpack` makes a Debian
# package of each: libringlet-dev and ringlet.
include(CMakePackageConfigHelpers)
set(ringlet_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/ringlet)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)

# Users include as we do ("coro/run.h"). The two real drivers' headers are nobody else's.
foreach(layer core coro net http)
    install(DIRECTORY ${layer} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ringlet
            FILES_MATCHING PATTERN "*.h" PATTERN "uring*.h" EXCLUDE PATTERN "epoll*.h" EXCLUDE)
endforeach()
install(TARGETS ringlet EXPORT ringletTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT ringletTargets NAMESPACE ringlet:: DESTINATION ${ringlet_cmake_folder})
write_basic_package_version_file(ringletConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/ringletConfig.cmake cmake/dependencies.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/ringletConfigVersion.cmake
        DESTINATION ${ringlet_cmake_folder})

# The file finds its prefix from where it lies, so the installed tree may be moved.
file(RELATIVE_PATH ringlet_pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/ringlet.pc.in ringlet.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ringlet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libringlet-dev)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/ringlet COMPONENT programs)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The Ringlet authors <ringlet@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL development programs)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libringlet-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libstdc++-dev, ${ringlet_packages}")
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_NAME ringlet)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "headers and the static library")
set(CPACK_COMPONENT_PROGRAMS_DESCRIPTION "the crawler and the small servers")
include(CPack)
