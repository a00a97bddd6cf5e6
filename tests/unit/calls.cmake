# Events of the consensus worker; the test stands in for the bus.
set(consensus "${CMAKE_SOURCE_DIR}/procs/consensus")
mha_test(NAME consensus_events SOURCES events_test.c "${consensus}/events.c"
	DEPS mha_wire mha_status mha_core mha_base PkgConfig::JANSSON)
target_include_directories(test_consensus_events PRIVATE "${consensus}")
