#include "program.h"

#include <cmath>
#include <cstring>

#include "checks.h"

namespace anytimenet {
namespace {

constexpr std::int64_t kMostWords = 1 << 25;

// Words of a file, one after the other.
class Words {
  public:
    Words(const unsigned char* data, std::size_t size) : data_(data), left_(static_cast<std::int64_t>(size / 4)) {
        if (size % 4 || left_ < kHeaderWords) throw Refused("it is cut off");
        if (left_ > kMostWords) throw Refused("it is longer than any program");
    }

    std::int32_t next() {
        if (left_ <= 0) throw Refused("it is cut off");
        std::uint32_t word = 0;
        for (int i = 0; i < 4; i++) word |= static_cast<std::uint32_t>(*data_++) << (8 * i);
        left_--;
        return static_cast<std::int32_t>(word);
    }

    template <class T>
    std::vector<T> table(std::int32_t count, std::int32_t words) {
        static_assert(sizeof(T) % 4 == 0, "a row of whole words");
        check_room(count, words);
        std::vector<T> rows(static_cast<std::size_t>(count));
        for (T& row : rows) take_row(&row, sizeof(T) / 4, words);
        return rows;
    }

    std::int64_t left() const { return left_; }

  private:
    void check_room(std::int32_t count, std::int32_t words) const {
        if (count < 0 || count > left_ / words) throw Refused("a table is longer than the file");
    }
    // The first `own` of `words` words; the others are reserved.
    void take_row(void* to, std::int32_t own, std::int32_t words) {
        for (std::int32_t i = 0; i < words; i++) {
            std::int32_t value = next();
            if (i < own) std::memcpy(static_cast<unsigned char*>(to) + 4 * i, &value, 4);
            else if (value != 0) throw Refused("a reserved word is not 0");
        }
    }

    const unsigned char* data_;
    std::int64_t left_;
};

}  // namespace

Program read_program(const unsigned char* data, std::size_t size) {
    Words words(data, size);
    if (words.next() != kMagic) throw Refused("it is no program of the native engine");
    std::int32_t version = words.next();
    if (version != kVersion)
        throw Refused("version " + std::to_string(version) + " is not the one that this engine reads");
    std::int32_t counts[10];
    for (std::int32_t& count : counts) count = words.next();
    for (std::int32_t i = 12; i < kHeaderWords; i++)
        if (words.next() != 0) throw Refused("a reserved word is not 0");
    Program program;
    program.shards = counts[0];
    program.stages = counts[1];
    program.tensors = words.table<Tensor>(counts[2], 6);
    program.chunks = words.table<Chunk>(counts[3], 8);
    program.weights = words.table<Weight>(counts[4], 4);
    program.ops = words.table<Op>(counts[5], 32);
    program.table = words.table<Stage>(counts[6], 10);
    program.states = words.table<StateTensor>(counts[7], 2);
    program.outputs = words.table<std::int32_t>(counts[8], 1);
    if (words.left() || counts[9]) throw Refused("something stands behind its end");
    check_program(program);
    return program;
}

}  // namespace anytimenet
