mha_test(NAME raftnode SOURCES ${CMAKE_CURRENT_LIST_DIR}/raftnode_test.c
	${CMAKE_CURRENT_LIST_DIR}/raftnode_fixture.c
	DEPS mha_raftnode mha_core mha_wire mha_base PkgConfig::RAFT)
mha_test(NAME raftnode_member SOURCES ${CMAKE_CURRENT_LIST_DIR}/raftnode_member_test.c
	${CMAKE_CURRENT_LIST_DIR}/raftnode_fixture.c
	DEPS mha_raftnode mha_core mha_wire mha_base PkgConfig::RAFT)
