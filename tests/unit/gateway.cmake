# The interfaces: view, gateway, mhactl, mha-top.
set(gateway_fixture gateway_fixture.c)
mha_test(NAME view SOURCES gateway_view_test.c ${gateway_fixture} DEPS mha_view)
mha_test(NAME view_json SOURCES gateway_json_test.c ${gateway_fixture} DEPS mha_view)
mha_test(NAME gateway_events SOURCES gateway_events_test.c DEPS mha_gateway)
mha_test(NAME gateway_requests SOURCES gateway_requests_test.c ${gateway_fixture} DEPS mha_gateway)
mha_test(NAME gateway_routes SOURCES gateway_routes_test.c ${gateway_fixture} DEPS mha_gateway)
mha_test(NAME gateway_v1 SOURCES gateway_v1_test.c ${gateway_fixture} DEPS mha_gateway PkgConfig::JANSSON)
mha_test(NAME gateway_lag SOURCES gateway_lag_test.c DEPS mha_gateway)
mha_test(NAME mhactl SOURCES mhactl_test.c ${gateway_fixture} DEPS mha_mhactl)
mha_test(NAME doctor SOURCES doctor_test.c ${gateway_fixture} DEPS mha_mhactl mha_conf)
mha_test(NAME top SOURCES top_test.c ${gateway_fixture} DEPS mha_top)
mha_test(NAME client SOURCES client_test.c DEPS mha_client PkgConfig::ZMQ)
mha_test(NAME gateway_auth SOURCES gateway_auth_test.c DEPS mha_gateway)
mha_test(NAME access SOURCES access_test.c DEPS mha_access mha_key)

# libmha, against stand-in agents.
foreach(part mha mha_listen)
	mha_test(NAME ${part} SOURCES ${part}_test.c fake_agents.c
		DEPS mha_client mha_key PkgConfig::ZMQ PkgConfig::PQ)
endforeach()

# What the shared library gives away is what the header declares; programs see nothing else.
add_test(NAME libmha_symbols
	COMMAND /usr/bin/python3 -B "${CMAKE_CURRENT_SOURCE_DIR}/libmha_symbols.py"
		$<TARGET_FILE:mha> $<TARGET_FILE:mha_static> "${CMAKE_SOURCE_DIR}/common/client/mha.h")

# The Go binding, with stand-in agents as a process. A sanitizer's runtime does not live in Go
# programs, so this is for builds without one.
add_executable(mha-fake-agents fake_agents_main.c fake_agents.c)
target_link_libraries(mha-fake-agents PRIVATE mha_client PkgConfig::ZMQ)
set_target_properties(mha-fake-agents PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
find_program(GO go)
if(GO AND NOT MHA_SANITIZE)
	get_target_property(libmha_folder mha BINARY_DIR)
	add_test(NAME go_binding COMMAND ${GO} test -count=1 ./...
		WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}/common/client/go")
	set_tests_properties(go_binding PROPERTIES TIMEOUT 1200 ENVIRONMENT
		"GOFLAGS=-mod=mod;GOPROXY=off;GOCACHE=${CMAKE_BINARY_DIR}/go-cache;GOPATH=${CMAKE_BINARY_DIR}/go;PKG_CONFIG_PATH=${libmha_folder};LD_LIBRARY_PATH=${libmha_folder};MHA_FAKE_AGENTS=$<TARGET_FILE:mha-fake-agents>")
endif()
mha_test(NAME trace SOURCES trace_test.c DEPS mha_trace)
