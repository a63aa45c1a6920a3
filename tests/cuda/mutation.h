// SPDX-License-Identifier: MIT
// For kernels that mutation.py has rewritten: all mutants are in one program, and one of them is on, or none.
#pragma once

namespace mutation {

bool on(int mutant);
void at_launch();  // of every kernel, by the host

}  // namespace mutation
