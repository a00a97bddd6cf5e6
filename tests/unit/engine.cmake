mha_test(NAME engine_parse SOURCES ${CMAKE_CURRENT_LIST_DIR}/engine_parse_test.c DEPS mha_engine)
mha_test(NAME engine_files SOURCES ${CMAKE_CURRENT_LIST_DIR}/engine_files_test.c DEPS mha_engine)
mha_test(NAME engine_child SOURCES ${CMAKE_CURRENT_LIST_DIR}/engine_child_test.c DEPS mha_engine)
