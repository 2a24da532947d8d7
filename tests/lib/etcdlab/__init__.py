"""Real etcd clusters for the tests: start, load, kill, and judge what is left. See ../../README.md."""
