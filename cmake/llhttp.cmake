# llhttp, whose objects become part of libringlet.a: Debian 12 has no package of it, so those who
# link Ringlet shall not have to look for one.
ringlet_find(llhttp libllhttp 9.2.1 llhttp.h llhttp
             "install libllhttp-dev (in Debian 13 and newer), or run scripts/setup on Debian 12")
if(NOT ringlet_llhttp_library MATCHES "\\.a$")
    if(NOT SKBUILD)
        message(FATAL_ERROR
                "Ringlet needs the static libllhttp.a, and found ${ringlet_llhttp_library}")
    endif()
    # A wheel has nobody who links it, and auditwheel puts shared libraries into it.
    list(APPEND ringlet_link_targets ringlet::llhttp)
    return()
endif()

set(llhttp_folder ${CMAKE_CURRENT_BINARY_DIR}/llhttp)
file(MAKE_DIRECTORY ${llhttp_folder})
foreach(action t x)
    execute_process(COMMAND ${CMAKE_AR} ${action} ${ringlet_llhttp_library}
                    WORKING_DIRECTORY ${llhttp_folder} OUTPUT_VARIABLE llhttp_members
                    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    if(action STREQUAL t)
        string(REGEX REPLACE "([^\n]+)\n?" "${llhttp_folder}/\\1;" llhttp_objects
               "${llhttp_members}\n")
    endif()
endforeach()
set_source_files_properties(${llhttp_objects} PROPERTIES EXTERNAL_OBJECT TRUE)
