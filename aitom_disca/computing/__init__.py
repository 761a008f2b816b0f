"""On what is computed: cores, processes, machines, and the devices of Keras' backend."""
