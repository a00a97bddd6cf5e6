foreach(part syncset lease lineage candidate cluster)
	mha_test(NAME core_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${part}_test.c DEPS mha_core mha_base)
endforeach()
mha_test(NAME core_agent SOURCES ${CMAKE_CURRENT_LIST_DIR}/agent_test.c
	${CMAKE_CURRENT_LIST_DIR}/agent_world.c DEPS mha_core mha_base)
