// SPDX-License-Identifier: MIT
// build_info(): what this copy of the library is made of and what it runs on. The CHAINRULE_ macros come from cmake/python.cmake.
#include <sstream>
#include <string>

#include "bindings/bindings.h"
#include "kernels/cpu/gemm.h"
#include "kernels/kernels.h"
#include "tensor/parallel.h"
#include "tensor/random.h"

namespace chainrule::bindings {

namespace {

std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

py::tuple words(const std::string& text) {
  std::istringstream in(text);
  py::list all;
  for (std::string word; in >> word;) all.append(word);
  return py::tuple(all);
}

py::dict build_info() {
  using namespace py::literals;
  const py::tuple blas = words(blas::config());  // "OpenBLAS 0.3.34 ... MAX_THREADS=64"
  const py::object blas_version = blas.size() > 1 ? py::object(blas[1]) : py::none();
  return py::dict("version"_a = CHAINRULE_VERSION, "compiler"_a = compiler(), "build_type"_a = CHAINRULE_BUILD_TYPE,
                  "flags"_a = CHAINRULE_BUILD_FLAGS,
                  "blas"_a = py::dict("name"_a = CHAINRULE_BLAS_NAME, "version"_a = blas_version, "core"_a = blas_core()),
                  "isa"_a = py::dict("in_use"_a = isa_in_use(), "available"_a = words(isa_available())), "cuda"_a = loaded_device_library(),
                  "random_version"_a = random_version, "threads"_a = num_threads());
}

}  // namespace

void bind_info(py::module_& m) {
  m.def("isa_in_use", &isa_in_use,
        "The instruction set in use: v1, v3, v4, neon. Raises ValueError where CHAINRULE_ISA is none of this processor's.");
  m.def("num_threads", &num_threads, "How many threads fit and predict may use.");
  m.def("limit_threads", &limit_threads, py::arg("n"),
        "Use at most n threads in what this thread calls, 0: what set_num_threads says. Returns the limit before.");
  m.def("set_num_threads", &set_num_threads, py::arg("n"),
        "Use at most n threads from the next call on; the bits of the results do not depend on it.");
  m.def("build_info", &build_info,
        "What this build is: version, compiler, build_type, flags, blas (name, version, core in use), isa (in_use, available), cuda (the\n"
        "library that was loaded for it, or None), random_version and threads (how many fit and predict may use).");
}

}  // namespace chainrule::bindings
