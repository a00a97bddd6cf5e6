# Events of the consensus worker; the test stands in for the bus.
set(consensus "${CMAKE_SOURCE_DIR}/procs/consensus")
mha_test(NAME consensus_events SOURCES events_test.c "${consensus}/events.c"
	DEPS mha_wire mha_status mha_core mha_base PkgConfig::JANSSON)
target_include_directories(test_consensus_events PRIVATE "${consensus}")

# The Raft log's directory.
mha_test(NAME consensus_disk SOURCES ${CMAKE_CURRENT_LIST_DIR}/disk_test.c "${consensus}/disk.c"
	DEPS mha_engine mha_status mha_core mha_base PkgConfig::RAFT PkgConfig::UV)
target_include_directories(test_consensus_disk PRIVATE "${consensus}")
