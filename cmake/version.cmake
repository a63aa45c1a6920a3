# SPDX-License-Identifier: MIT
# CHAINRULE_VERSION, and the numbers of it that project() takes: the version stands in pyproject.toml and nowhere else.
get_filename_component(version_file "${CMAKE_CURRENT_LIST_DIR}/../pyproject.toml" ABSOLUTE)
file(STRINGS "${version_file}" version_line REGEX "^version = \"[^\"]+\"$")
string(REGEX REPLACE "^version = \"([^\"]+)\"$" "\\1" CHAINRULE_VERSION "${version_line}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${version_file}")
string(REGEX MATCH "^[0-9]+(\\.[0-9]+)*" CHAINRULE_VERSION_NUMBER "${CHAINRULE_VERSION}")
