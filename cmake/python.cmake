# SPDX-License-Identifier: MIT
# The module chainrule._core and what the wheel carries beside it.
file(GLOB binding_sources CONFIGURE_DEPENDS csrc/bindings/*.cpp)
pybind11_add_module(_core MODULE NO_EXTRAS ${binding_sources})  # NO_EXTRAS: no link-time optimisation (cmake/kernels.cmake says why)
target_link_libraries(_core PRIVATE chainrule_core)
# Glue, no loops: -O3 here doubles the time of the build and gains nothing (every kernel is in chainrule_core).
target_compile_options(_core PRIVATE -O1)
# pybind11's headers cost 8 s of CPU in every file that includes them (reading 4, code that they emit anyway 4): two units, one for each core.
set_target_properties(_core PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
set_source_files_properties(${binding_sources} PROPERTIES UNITY_GROUP network)
set_source_files_properties(csrc/bindings/dlpack.cpp csrc/bindings/functional.cpp csrc/bindings/info.cpp csrc/bindings/module.cpp csrc/bindings/optim.cpp csrc/bindings/random.cpp
  PROPERTIES UNITY_GROUP functional)

string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
separate_arguments(build_flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}}")
list(APPEND build_flags ${CHAINRULE_COMPILE_FLAGS})
list(FILTER build_flags EXCLUDE REGEX "[/\"]")  # -ffile-prefix-map and the like would put the builder's paths into the wheel
list(JOIN build_flags " " build_flags)
# Of the target, not of the two files that read them: a file with definitions of its own stays out of its unit.
target_compile_definitions(_core PRIVATE
  "CHAINRULE_VERSION=\"${CHAINRULE_VERSION}\";CHAINRULE_BUILD_TYPE=\"${CMAKE_BUILD_TYPE}\";CHAINRULE_BUILD_FLAGS=\"${build_flags}\";CHAINRULE_BLAS_NAME=\"${CHAINRULE_BLAS_NAME}\"")

# PyInit__core alone leaves the module: a second pybind11 module or libstdc++ in the process finds nothing of ours to share.
if(APPLE)  # not run yet
  target_link_options(_core PRIVATE "LINKER:-exported_symbol,_PyInit__core")
  set_target_properties(_core PROPERTIES INSTALL_RPATH "@loader_path")
else()
  set(version_script "${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
  target_link_options(_core PRIVATE "LINKER:--version-script=${version_script}" "LINKER:--enable-new-dtags" "LINKER:--as-needed")
  set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN" LINK_DEPENDS "${version_script}")
endif()

install(TARGETS _core LIBRARY DESTINATION chainrule)
if(CHAINRULE_BLAS STREQUAL "vendored")
  install(PROGRAMS "${CHAINRULE_BLAS_FILE}" DESTINATION chainrule)
  if(SKBUILD_METADATA_DIR)
    foreach(licence IN LISTS CHAINRULE_BLAS_LICENCES)
      get_filename_component(name "${licence}" NAME)
      install(FILES "${licence}" DESTINATION "${SKBUILD_METADATA_DIR}/licenses" RENAME "scipy-openblas32-${name}")
    endforeach()
  endif()
endif()
