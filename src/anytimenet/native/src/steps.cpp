#include "steps.h"

#include <algorithm>
#include <cstring>

#include "index.h"

namespace anytimenet {
namespace {

void run_paired(const Kernels& kernels, const Paired& pair) {
    Gemm product = pair.product;
    Conv conv = pair.conv;
    for (int row = 0; row < pair.product.rows; row += pair.rows) {
        product.rows = conv.groups = std::min(pair.rows, pair.product.rows - row);
        kernels.gemm(product), kernels.depthwise(conv);
        product.weight += static_cast<std::int64_t>(pair.rows) * product.columns, product.bias += pair.rows;
        conv.weight += static_cast<std::int64_t>(pair.rows) * conv.tap_count, conv.bias += pair.rows;
        conv.out.data += pair.rows * conv.out.plane;
    }
}

}  // namespace

void run_step(const Kernels& k, const Step& step) {
    switch (step.work.index()) {
        case 0: k.gemm(std::get<Gemm>(step.work)); break;
        case 1: {
            const Framed& f = std::get<Framed>(step.work);
            if (f.copies) k.frame(f.frame);
            if (f.depthwise) k.depthwise(f.conv);
            else k.conv(f.conv);
            break;
        }
        case 2: k.affine(std::get<Affine>(step.work)); break;
        case 3: k.add(std::get<Add>(step.work)); break;
        case 4: k.pool(std::get<Pool>(step.work)); break;
        case 5: k.mean(std::get<Mean>(step.work)); break;
        case 6: k.linear(std::get<Linear>(step.work)); break;
        case 8: run_paired(k, std::get<Paired>(step.work)); break;
        default: {
            const Clear& c = std::get<Clear>(step.work);
            std::memset(c.data, 0, 4 * index(c.floats));
        }
    }
}

}  // namespace anytimenet
