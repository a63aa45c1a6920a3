// SPDX-License-Identifier: MIT
// Rows of a data set gathered into a batch: "<type of the data>/<rows x columns of the data>/<order>/<batch>". The bytes are those of the data: the batch
// stays in the caches. 100 % of peak is reading as much memory in order.
#include "bench.h"
#include "tensor/random.h"
#include "train/source.h"

using namespace chainrule;
using namespace chainrule::bench;

namespace {

// S: type of the data, T: of the network
template <class S, class T>
void add_gather(const std::string& type, DType dtype, Index rows, Index columns, Index batch, bool shuffled) {
  const std::string name =
      type + "/" + std::to_string(rows) + "x" + std::to_string(columns) + (shuffled ? "/random/" : "/in_order/") + std::to_string(batch);
  add(name, [=](Measure& m) {
    const std::vector<S> data = random<S>(rows * columns, 0, 100);
    Source source;
    source.name = "X", source.data = reinterpret_cast<const char*>(data.data()), source.dtype = dtype, source.rows = rows;
    source.row_stride = columns * static_cast<Index>(sizeof(S)), source.shape = {columns}, source.stride = {sizeof(S)}, source.size = columns;
    std::vector<Index> index(static_cast<std::size_t>(rows));
    const Permutation order(0, 0, Purpose::Shuffle, shuffled ? rows : 0);
    if (shuffled) order.fill(0, rows, index.data());
    std::vector<T> out(static_cast<std::size_t>(batch * columns));
    Index first = 0;
    const double row = static_cast<double>(columns) * sizeof(S);
    m.read(row * static_cast<double>(batch), row * static_cast<double>(rows), [&] {
      source.gather<T>(shuffled ? index.data() : nullptr, first, batch, out.data());
      first += batch;
      if (first + batch > rows) first = 0;
    });
  });
}

}  // namespace

int main(int argc, char** argv) {
  for (const bool shuffled : {false, true}) {
    add_gather<float, float>("float32", DType::F32, 60000, 784, 128, shuffled);
    add_gather<std::uint8_t, float>("uint8_to_float32", DType::U8, 60000, 784, 128, shuffled);
    add_gather<double, float>("float64_to_float32", DType::F64, 60000, 784, 128, shuffled);
    add_gather<float, float>("float32", DType::F32, 100000, 20, 32, shuffled);
    add_gather<float, float>("float32", DType::F32, 100, 20, 32, shuffled);
    add_gather<double, double>("float64", DType::F64, 100000, 20, 32, shuffled);
  }
  return run_all(argc, argv);
}
