# The front door. CMake does the work; `cmake --list-presets` shows the builds.
.PHONY: help setup build demo test bench fuzz coverage tidy format format-check install clean

help:
	@echo 'make demo     install what is missing, build, watch a line get better for a minute'
	@echo 'make test     the same set-up, every test: gcc and clang, with and without sanitizers'
	@echo 'make bench    the quick benchmarks; make bench-NAME runs one (see bench/README.md)'
	@echo 'make build    the program, in build/release/tightloop'
	@echo 'make fuzz     feed hostile input to the parsers, SECONDS=600 each'
	@echo 'make coverage the share of lines that the tests run, a module'
	@echo 'make tidy     clang-tidy; make format and make format-check: clang-format'
	@echo 'make install  PREFIX=/usr/local'

setup:
	@scripts/setup build

build: setup
	@scripts/build release tightloop_program tightloop_library

demo: build
	@build/release/tightloop demo $(ARGS)

test:
	@scripts/setup test
	@scripts/test

bench:
	@scripts/setup bench
	@scripts/build release
	@bench/run quick

bench-%:
	@scripts/setup bench
	@scripts/build release
	@bench/run $* $(ARGS)

fuzz:
	@scripts/setup test
	@scripts/fuzz $(or $(SECONDS),600)

coverage:
	@scripts/setup test
	@scripts/coverage

tidy:
	@scripts/setup develop
	@scripts/tidy

format:
	@scripts/setup develop
	@find include src sim tests bench examples -name '*.[ch]' | xargs clang-format -i

format-check:
	@scripts/setup develop
	@scripts/check-format

install: build
	@cmake --install build/release --prefix $(or $(PREFIX),/usr/local)

clean:
	@rm -rf build
