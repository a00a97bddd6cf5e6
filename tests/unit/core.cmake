foreach(part syncset lease lineage candidate cluster member agent_member)
	mha_test(NAME core_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${part}_test.c DEPS mha_core mha_base)
endforeach()
foreach(part agent agent_call agent_dry_run agent_mode agent_restart agent_survey agent_table)
	mha_test(NAME core_${part} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${part}_test.c
		${CMAKE_CURRENT_LIST_DIR}/agent_world.c ${CMAKE_CURRENT_LIST_DIR}/agent_script.c
		DEPS mha_core mha_base)
endforeach()
