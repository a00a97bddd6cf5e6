# Every record, acknowledgement set and answer set of clusters up to seven voters; sanitizers cost
# a factor of ten, so their builds stop at a size less.
mha_test(NAME core_exhaustive
	SOURCES ${CMAKE_CURRENT_LIST_DIR}/survey_exhaustive_test.c
		${CMAKE_CURRENT_LIST_DIR}/sync_exhaustive_test.c
	DEPS mha_core mha_base)
set_tests_properties(core_exhaustive PROPERTIES TIMEOUT 1200)
if(MHA_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release")
	target_compile_definitions(test_core_exhaustive PRIVATE VOTERS_MAX=5 STANDBYS_MAX=4)
else()
	target_compile_definitions(test_core_exhaustive PRIVATE VOTERS_MAX=7 STANDBYS_MAX=6)
endif()
