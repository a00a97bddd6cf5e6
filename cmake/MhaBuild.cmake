# Warnings, hardening, and the three functions every folder uses:
#   mha_library(NAME folder SOURCES ... DEPS ...)   a library of common/, includable as "folder/x.h"
#   mha_program(NAME name SOURCES ... DEPS ...)     a program, built into bin/
#   mha_test(NAME name SOURCES ... DEPS ...)        a Criterion test, run by ctest
option(MHA_LTO "link-time optimisation" OFF)
set(MHA_SANITIZE "" CACHE STRING "sanitizers, as for -fsanitize=")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Werror -g)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	add_compile_options(-Wlogical-op -Wduplicated-cond -Wnull-dereference)
endif()

if(MHA_SANITIZE)
	add_compile_options(-fsanitize=${MHA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${MHA_SANITIZE})
	# gcc's null-dereference analysis reports sanitizer-made paths.
	add_compile_options(-Wno-null-dereference)
else()
	add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection=full
		-fPIE -fno-plt)
	add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code)
	if(CMAKE_BUILD_TYPE STREQUAL "Release")
		add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
		string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
		# Checks stay on in production: CHECK() does not depend on NDEBUG.
	endif()
	if(MHA_LTO)
		set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
	endif()
endif()

# One include root per library, holding only a link to its own folder: "core/x.h"
# resolves only in targets that declare core among their DEPS.
function(mha_include_root name folder)
	set(root "${CMAKE_BINARY_DIR}/include/${name}")
	file(MAKE_DIRECTORY "${root}")
	file(CREATE_LINK "${folder}" "${root}/${name}" SYMBOLIC)
	set(MHA_INCLUDE_ROOT "${root}" PARENT_SCOPE)
endfunction()

function(mha_library)
	cmake_parse_arguments(LIB "" "NAME" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
	mha_include_root(${LIB_NAME} "${CMAKE_CURRENT_SOURCE_DIR}")
	if(LIB_SOURCES)
		add_library(mha_${LIB_NAME} STATIC ${LIB_SOURCES})
		target_include_directories(mha_${LIB_NAME} PUBLIC "${MHA_INCLUDE_ROOT}")
		target_link_libraries(mha_${LIB_NAME} PUBLIC ${LIB_DEPS} PRIVATE ${LIB_PRIVATE_DEPS})
	else()
		add_library(mha_${LIB_NAME} INTERFACE)
		target_include_directories(mha_${LIB_NAME} INTERFACE "${MHA_INCLUDE_ROOT}")
		target_link_libraries(mha_${LIB_NAME} INTERFACE ${LIB_DEPS})
	endif()
endfunction()

function(mha_program)
	cmake_parse_arguments(PRG "" "NAME" "SOURCES;DEPS" ${ARGN})
	add_executable(${PRG_NAME} ${PRG_SOURCES})
	target_link_libraries(${PRG_NAME} PRIVATE ${PRG_DEPS})
endfunction()

function(mha_test)
	cmake_parse_arguments(TST "" "NAME" "SOURCES;DEPS" ${ARGN})
	add_executable(test_${TST_NAME} ${TST_SOURCES})
	set_target_properties(test_${TST_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
	target_link_libraries(test_${TST_NAME} PRIVATE ${TST_DEPS} PkgConfig::CRITERION)
	add_test(NAME ${TST_NAME} COMMAND test_${TST_NAME})
endfunction()
