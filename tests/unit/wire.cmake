mha_test(NAME bus SOURCES bus_test.c DEPS mha_wire)
mha_test(NAME convert SOURCES convert_test.c DEPS mha_wire)
mha_test(NAME envelope SOURCES envelope_test.c DEPS mha_peer)
mha_test(NAME peer SOURCES peer_test.c DEPS mha_peer)
