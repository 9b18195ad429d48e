#include "plan.h"

#include <algorithm>

#include "index.h"
#include "kernels.h"
#include "packing.h"

namespace anytimenet {
namespace {

constexpr std::int64_t kMostFloats = 1ll << 30;
constexpr std::int32_t kNever = -1;
#if defined(ANYTIME_RED_ZONES)
constexpr bool kShares = false;  // every tensor has memory of its own, with a red zone behind it
#else
constexpr bool kShares = true;
#endif

std::int64_t rounded(std::int64_t floats) { return (floats + kLanes - 1) / kLanes * kLanes; }

// Planes an odd number of lines (of 64 bytes) apart: the same pixel of all channels, which a product reads one
// after the other, then lies in all sets of a cache; with an even number in half of them or fewer.
std::int64_t spread(std::int64_t plane) { return plane / kLanes % 2 ? plane : plane + kLanes; }

std::int64_t plane_of(const Tensor& t) {
    if (t.flat) return 1;
    std::int64_t pixels = static_cast<std::int64_t>(t.height) * t.width;
    return spread(rounded(std::max(pixels, pixels - t.width + kLanes)));
}

// Rows of a part's operators that use a tensor: from the first to the last.
struct Life {
    std::int32_t first = kNever, last = kNever;
};

class Planner {
  public:
    explicit Planner(const Program& program) : program_(program) {
        plan_.tensors.resize(program.tensors.size());
        plan_.image_of.assign(program.ops.size(), -1);
    }

    Plan run() {
        for (std::size_t t = 0; t < program_.tensors.size(); t++) plan_.tensors[t].plane = plane_of(program_.tensors[t]);
        for (const Stage& stage : program_.table) {
            find_images(stage.body_first, stage.body_count);
            find_images(stage.head_first, stage.head_count);
        }
        for (std::size_t t = 0; t < program_.tensors.size(); t++)
            if (program_.tensors[t].kind != Kind::scratch || program_.tensors[t].flat || !kShares) take(t);
        for (Image& image : plan_.images) image.at = take(rounded(image.plane * image.channels) + kLanes);
        std::int64_t begin = plan_.floats, most = 0;
        for (const Stage& stage : program_.table) {
            most = std::max(most, place_scratch(stage.body_first, stage.body_count, begin));
            most = std::max(most, place_scratch(stage.head_first, stage.head_count, begin));
        }
        take(most);
        return std::move(plan_);
    }

  private:
    std::int64_t take(std::int64_t floats) {
        std::int64_t at = plan_.floats;
        plan_.floats += rounded(floats);
        if (plan_.floats > kMostFloats) throw Refused("it needs more memory than a session may have");
        return at;
    }

    void take(std::size_t tensor) {
        const Tensor& t = program_.tensors[tensor];
        plan_.tensors[tensor].at = take(rounded(plan_.tensors[tensor].plane * t.channels) + kLanes);
    }

    const Op& op(std::int64_t i) const { return program_.ops[index(i)]; }

    bool reads(const Op& one, std::int32_t tensor) const { return one.in == tensor || one.other == tensor; }

    void find_images(std::int32_t first, std::int32_t count) {
        for (std::int32_t i = first; i < first + count; i++) {
            if (op(i).code != Code::conv || is_product(op(i))) continue;
            plan_.image_of[index(i)] = image_for(op(i));
            settle_inside(first, first + count, i);
        }
    }

    std::int32_t image_for(const Op& o) {
        const Tensor& in = program_.tensors[index(o.in)];
        // Depthwise kernels pick every second pixel themselves.
        std::int32_t step = is_depthwise(o) && o.stride_x == 2 ? 1 : o.stride_x;
        Image wanted{in.height, in.width, o.top, o.left, o.bottom, o.right, step, o.in_channels, 0, 0, 0, 0};
        wanted.part = (in.width + o.left + o.right + step - 1) / step;
        wanted.row = wanted.part * step;
        wanted.plane = spread(rounded((in.height + o.top + o.bottom) * wanted.row + 2 * kLanes + o.window_width));
        if (wanted.plane * wanted.channels > kMostFloats) throw Refused("it needs more memory than a session may have");
        for (std::size_t i = 0; i < plan_.images.size(); i++)
            if (plan_.images[i].same_shape(wanted)) {
                plan_.images[i].channels = std::max(plan_.images[i].channels, wanted.channels);
                plan_.images[i].plane = std::max(plan_.images[i].plane, wanted.plane);
                return static_cast<std::int32_t>(i);
            }
        plan_.images.push_back(wanted);
        return static_cast<std::int32_t>(plan_.images.size() - 1);
    }

    // What only this convolution reads is written into its image right away, if nothing comes between.
    void settle_inside(std::int32_t first, std::int32_t end, std::int32_t reader) {
        const Op& o = op(reader);
        const Tensor& t = program_.tensors[index(o.in)];
        if (t.kind != Kind::scratch || o.in_channels != t.channels) return;
        if (plan_.images[index(plan_.image_of[index(reader)])].step != 1) return;
        for (std::int32_t i = first; i < end; i++)
            if (i != reader && reads(op(i), o.in)) return;
        std::int32_t writer = reader - 1;
        for (; writer >= first && op(writer).out == o.in; writer--)
            if (!writes_inside(writer, plan_.image_of[index(reader)])) return;
        for (std::int32_t i = first; i <= writer; i++)
            if (op(i).out == o.in) return;
        for (std::int32_t i = reader + 1; i < end; i++)
            if (op(i).out == o.in) return;
        plan_.tensors[index(o.in)].image = plan_.image_of[index(reader)];
    }

    bool writes_inside(std::int32_t writer, std::int32_t image) const {
        const Op& o = op(writer);
        if (o.code == Code::affine) return true;
        if (o.code != Code::conv || is_product(o)) return o.code == Code::conv;
        // A convolution writes whole vectors, which must not reach over the end of a row, and not what it reads.
        return !is_depthwise(o) && program_.tensors[index(o.out)].width >= kLanes && plan_.image_of[index(writer)] != image;
    }

    // Each scratch tensor lies where none is that lives at the same time; returns the floats that it takes.
    std::int64_t place_scratch(std::int32_t first, std::int32_t count, std::int64_t begin) {
        std::vector<std::pair<std::int32_t, Life>> lives;
        std::vector<std::int32_t> row(program_.tensors.size(), kNever);
        auto seen = [&](std::int32_t tensor, std::int32_t i) {
            if (tensor < 0) return;
            const Tensor& t = program_.tensors[index(tensor)];
            if (!kShares || t.kind != Kind::scratch || t.flat || plan_.tensors[index(tensor)].image >= 0) return;
            if (row[index(tensor)] == kNever) {
                row[index(tensor)] = static_cast<std::int32_t>(lives.size());
                lives.push_back({tensor, {i, i}});
            }
            Life& life = lives[index(row[index(tensor)])].second;
            life.last = std::max(life.last, i);
        };
        for (std::int32_t i = first; i < first + count; i++) {
            seen(op(i).out, i), seen(op(i).in, i), seen(op(i).other, i);
            // A product may do what an affine operator behind it does, which then writes while it still reads.
            if (i + 1 < first + count && op(i + 1).code == Code::affine && op(i + 1).in == op(i).out)
                seen(op(i).in, i + 1);
            // Who reads an image may be computed by turns with what is written into it.
            bool inside = plan_.tensors[index(op(i).out)].image >= 0;
            for (std::int32_t j = i + 1; inside && j < first + count; j++)
                if (op(j).in == op(i).out) seen(op(i).in, j);
        }
        std::int64_t most = 0;
        std::vector<std::pair<std::int64_t, std::int64_t>> taken;  // of those that are placed: from, to
        for (std::size_t n = 0; n < lives.size(); n++) {
            auto [tensor, life] = lives[n];
            std::int64_t size = rounded(plan_.tensors[index(tensor)].plane * program_.tensors[index(tensor)].channels) + kLanes;
            std::int64_t at = sum_in_place(lives, row, n, begin);
            if (at < 0) at = lowest(lives, taken, n, begin, size);
            plan_.tensors[index(tensor)].at = at;
            taken.push_back({at, at + size});
            most = std::max(most, at + size - begin);
            if (most > kMostFloats) throw Refused("it needs more memory than a session may have");
        }
        return most;
    }

    // A sum lies where a term of it was that nobody reads any more: -1 if there is none.
    std::int64_t sum_in_place(const std::vector<std::pair<std::int32_t, Life>>& lives,
                              const std::vector<std::int32_t>& row, std::size_t n, std::int64_t) const {
        const Op& writer = op(lives[n].second.first);
        if (writer.other < 0 || writer.other_channel || writer.out_channel || writer.other == writer.in) return -1;
        std::int32_t from = row[index(writer.other)];
        if (from == kNever || lives[index(from)].second.last != lives[n].second.first) return -1;
        const Tensor &own = program_.tensors[index(writer.out)], &term = program_.tensors[index(writer.other)];
        if (own.channels != term.channels || writer.out_channels != own.channels) return -1;
        if (own.height != term.height || own.width != term.width) return -1;
        return plan_.tensors[index(writer.other)].at;
    }

    std::int64_t lowest(const std::vector<std::pair<std::int32_t, Life>>& lives,
                        const std::vector<std::pair<std::int64_t, std::int64_t>>& taken, std::size_t n,
                        std::int64_t begin, std::int64_t size) const {
        std::vector<std::pair<std::int64_t, std::int64_t>> busy;
        for (std::size_t o = 0; o < taken.size(); o++)
            if (lives[o].second.last >= lives[n].second.first) busy.push_back(taken[o]);
        std::sort(busy.begin(), busy.end());
        std::int64_t at = begin;
        for (auto [from, to] : busy) {
            if (at + size <= from) break;
            at = std::max(at, to);
        }
        return at;
    }

    const Program& program_;
    Plan plan_;
};

}  // namespace

Plan plan_memory(const Program& program) { return Planner(program).run(); }

}  // namespace anytimenet
