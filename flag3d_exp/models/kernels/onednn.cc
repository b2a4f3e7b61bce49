// Convolutions and GELU by oneDNN, the library that MindSpore's own CPU kernels call; batch norms
// and sums.
//
// MindSpore passes arrays in plain order, for which oneDNN has slow convolutions only. Here oneDNN
// chooses the order ("any"), the arrays are reordered, and a kernel made for the processor computes.
// The exported functions have the signature of `mindspore.ops.Custom(func_type="aot")`; onednn.py
// calls them.
//
// The library is the one inside MindSpore, opened at run time. It comes without headers, so the part
// of oneDNN 3's C interface that is used is declared here.

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

// ---- oneDNN's C interface ----

using Handle = void*;  // an engine, stream, memory, memory descriptor, primitive or its descriptor
using Sizes = const int64_t*;

struct Version {
  int major, minor, patch;
  const char* hash;
  unsigned cpu_runtime, gpu_runtime;
};

struct Argument {
  int number;
  Handle memory;
};

constexpr int kFloat = 3, kAnyOrder = 1, kCpu = 1, kThreadpool = 8, kDefaultFlags = 1;
constexpr int kTraining = 64, kInference = 96;
constexpr int kDirect = 1, kExactGelu = 49;                              // algorithms
constexpr int kSource = 1, kTarget = 17, kWeights = 33, kBias = 41;      // arguments
constexpr int kGradientOf = 128;                                         // added to an argument
constexpr int kSourceOrder = 129, kWeightsOrder = 131, kTargetOrder = 133;  // queries
constexpr int kGradientsOrder = 1;                                       // added to a query

struct Library {
  const Version* (*version)();
  int (*engine_create)(Handle*, int kind, size_t index);
  int (*threadpool_interop_stream_create)(Handle*, Handle engine, void* threads);
  int (*stream_wait)(Handle);
  int (*memory_desc_create_with_tag)(Handle*, int count, Sizes, int type, int tag);
  int (*memory_desc_create_with_strides)(Handle*, int count, Sizes, int type, Sizes strides);
  int (*memory_desc_equal)(Handle, Handle);
  size_t (*memory_desc_get_size)(Handle);
  int (*memory_desc_destroy)(Handle);
  int (*memory_create)(Handle*, Handle desc, Handle engine, void* data);
  int (*memory_set_data_handle)(Handle, void* data);
  int (*memory_destroy)(Handle);
  int (*convolution_forward_primitive_desc_create)(Handle*, Handle engine, int kind, int algorithm,
                                                   Handle source, Handle weights, Handle bias,
                                                   Handle target, Sizes strides, Sizes dilations,
                                                   Sizes before, Sizes after, Handle attributes);
  int (*convolution_backward_data_primitive_desc_create)(Handle*, Handle engine, int algorithm,
                                                         Handle source, Handle weights,
                                                         Handle target, Sizes, Sizes, Sizes, Sizes,
                                                         Handle forward, Handle attributes);
  int (*convolution_backward_weights_primitive_desc_create)(Handle*, Handle engine, int algorithm,
                                                            Handle source, Handle weights,
                                                            Handle bias, Handle target, Sizes,
                                                            Sizes, Sizes, Sizes, Handle forward,
                                                            Handle attributes);
  int (*eltwise_forward_primitive_desc_create)(Handle*, Handle engine, int kind, int algorithm,
                                               Handle source, Handle target, float, float,
                                               Handle attributes);
  int (*eltwise_backward_primitive_desc_create)(Handle*, Handle engine, int algorithm,
                                                Handle source_gradient, Handle target_gradient,
                                                Handle source, float, float, Handle forward,
                                                Handle attributes);
  int (*reorder_primitive_desc_create)(Handle*, Handle from, Handle engine, Handle to, Handle,
                                       Handle attributes);
  Handle (*primitive_desc_query_md)(Handle, int query, int index);
  int (*primitive_create)(Handle*, Handle desc);
  int (*primitive_execute)(Handle, Handle stream, int count, const Argument*);
  int (*primitive_desc_destroy)(Handle);
  int (*primitive_destroy)(Handle);
};

// dnnl::threadpool_interop::threadpool_iface, whose virtual functions oneDNN calls in this order.
struct Threads {
  virtual int get_num_threads() const = 0;
  virtual bool get_in_parallel() const = 0;
  virtual void parallel_for(int count, const std::function<void(int, int)>& part) = 0;
  virtual uint64_t get_flags() const = 0;
  virtual void wait() = 0;
  virtual ~Threads() = default;
};

void check(int status, const char* what) {
  if (status != 0) {
    throw std::runtime_error(std::string("oneDNN: ") + what + ": status " + std::to_string(status));
  }
}

// ---- Threads ----

// Calls `part` on all threads at once. A thread that waits spins for some microseconds, then sleeps.
class Pool : public Threads {
 public:
  explicit Pool(int num_threads) : num_threads_(num_threads) {
    for (int number = 1; number < num_threads; ++number) {
      std::thread([this, number] { work(number); }).detach();
    }
  }

  int get_num_threads() const override { return num_threads_; }
  bool get_in_parallel() const override { return inside_; }
  uint64_t get_flags() const override { return 0; }
  void wait() override {}

  void parallel_for(int count, const std::function<void(int, int)>& part) override {
    if (count <= 1 || inside_ || num_threads_ == 1) {
      for (int number = 0; number < count; ++number) part(number, count);
      return;
    }
    part_ = &part;
    count_ = count;
    busy_ = num_threads_ - 1;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ++round_;
    }
    started_.notify_all();
    inside_ = true;
    take(0);
    inside_ = false;
    for (int spins = 0; busy_.load(std::memory_order_acquire) > 0; ++spins) {
      spins < kSpins ? pause() : std::this_thread::yield();
    }
  }

 private:
  static constexpr int kSpins = 2000;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void take(int thread) {
    for (int number = thread; number < count_; number += num_threads_) (*part_)(number, count_);
  }

  void work(int thread) {
    inside_ = true;
    for (uint64_t seen = 0;; ++seen) {
      for (int spins = 0; spins < kSpins && round_.load() == seen; ++spins) pause();
      if (round_.load() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        started_.wait(lock, [&] { return round_.load() != seen; });
      }
      take(thread);
      busy_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  const int num_threads_;
  const std::function<void(int, int)>* part_ = nullptr;
  int count_ = 0;
  std::atomic<int> busy_{0};
  std::atomic<uint64_t> round_{0};
  std::mutex mutex_;
  std::condition_variable started_;
  static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

// ---- The library, opened once ----

Library library;
Handle engine = nullptr, stream = nullptr;
Threads* threads = nullptr;  // never deleted: they never end
std::mutex one_at_a_time;  // MindSpore may run branches of a graph at once; they share the threads

template <typename Function>
void find(void* file, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(file, name));
  if (function == nullptr) throw std::runtime_error(std::string("oneDNN has no function ") + name);
}

void open_library(const char* path, int num_threads) {
  if (stream != nullptr) return;
#if defined(__x86_64__)
  const bool has_fast_kernels = __builtin_cpu_supports("avx2");
#else
  const bool has_fast_kernels = false;  // not measured
#endif
  if (!has_fast_kernels) throw std::runtime_error("the processor is not an x86 with AVX2");
  void* file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (file == nullptr) throw std::runtime_error(dlerror());
#define FIND(name) find(file, "dnnl_" #name, library.name)
  FIND(version);
  FIND(engine_create);
  FIND(threadpool_interop_stream_create);
  FIND(stream_wait);
  FIND(memory_desc_create_with_tag);
  FIND(memory_desc_create_with_strides);
  FIND(memory_desc_equal);
  FIND(memory_desc_get_size);
  FIND(memory_desc_destroy);
  FIND(memory_create);
  FIND(memory_set_data_handle);
  FIND(memory_destroy);
  FIND(convolution_forward_primitive_desc_create);
  FIND(convolution_backward_data_primitive_desc_create);
  FIND(convolution_backward_weights_primitive_desc_create);
  FIND(eltwise_forward_primitive_desc_create);
  FIND(eltwise_backward_primitive_desc_create);
  FIND(reorder_primitive_desc_create);
  FIND(primitive_desc_query_md);
  FIND(primitive_create);
  FIND(primitive_execute);
  FIND(primitive_desc_destroy);
  FIND(primitive_destroy);
#undef FIND
  const Version* version = library.version();
  if (version->major != 3 || version->cpu_runtime != kThreadpool) {
    throw std::runtime_error("this is for oneDNN 3 with a thread pool; MindSpore has version " +
                             std::to_string(version->major) + ", runtime " +
                             std::to_string(version->cpu_runtime));
  }
  check(library.engine_create(&engine, kCpu, 0), "engine");
  threads = new Pool(num_threads);
  check(library.threadpool_interop_stream_create(&stream, engine, threads), "stream");
}

// ---- Arrays and primitives ----

using Owned = std::unique_ptr<void, int (*)(Handle)>;
using Shape = std::vector<int64_t>;

Owned in_any_order(const Shape& shape) {
  Handle made = nullptr;
  check(library.memory_desc_create_with_tag(&made, shape.size(), shape.data(), kFloat, kAnyOrder),
        "array");
  return {made, library.memory_desc_destroy};
}

Owned with_strides(const Shape& shape, const Shape& strides) {
  Handle made = nullptr;
  check(library.memory_desc_create_with_strides(&made, shape.size(), shape.data(), kFloat,
                                                strides.data()),
        "array");
  return {made, library.memory_desc_destroy};
}

Owned in_plain_order(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t axis = shape.size() - 1; axis > 0; --axis) {
    strides[axis - 1] = strides[axis] * shape[axis];
  }
  return with_strides(shape, strides);
}

Owned primitive_of(Handle desc) {
  Handle made = nullptr;
  check(library.primitive_create(&made, desc), "primitive");
  return {made, library.primitive_destroy};
}

Owned memory_of(Handle desc) {
  Handle made = nullptr;
  check(library.memory_create(&made, desc, engine, nullptr), "memory");
  return {made, library.memory_destroy};
}

Owned reorder(Handle from, Handle to) {
  Handle desc = nullptr;
  check(library.reorder_primitive_desc_create(&desc, from, engine, to, engine, nullptr), "reorder");
  Owned owned{desc, library.primitive_desc_destroy};
  return primitive_of(desc);
}

void execute(const Owned& primitive, const std::vector<Argument>& arguments) {
  check(library.primitive_execute(primitive.get(), stream, arguments.size(), arguments.data()),
        "execution");
}

// Memory that is kept for the next call; it only grows.
class Buffer {
 public:
  void* of(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + 63) / 64 * 64;
      data_ = std::aligned_alloc(64, size_);
      if (data_ == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// An array of MindSpore's, and the same array in the order that a primitive computes in.
class Array {
 public:
  Array(int argument, Handle outer, Handle inner, bool is_output)
      : argument_(argument), is_output_(is_output), outside_(memory_of(outer)) {
    if (library.memory_desc_equal(outer, inner)) return;
    inside_ = memory_of(inner);
    bytes_ = library.memory_desc_get_size(inner);
    reorder_ = is_output ? reorder(inner, outer) : reorder(outer, inner);
  }

  // The array to compute with; an input is reordered into the buffer.
  Argument opened(void* data, Buffer& buffer) {
    check(library.memory_set_data_handle(outside_.get(), data), "array");
    if (inside_ == nullptr) return {argument_, outside_.get()};
    check(library.memory_set_data_handle(inside_.get(), buffer.of(bytes_)), "array");
    if (!is_output_) move(outside_, inside_);
    return {argument_, inside_.get()};
  }

  // Write an output back.
  void close() const {
    if (is_output_ && inside_ != nullptr) move(inside_, outside_);
  }

 private:
  void move(const Owned& from, const Owned& to) const {
    execute(reorder_, {{kSource, from.get()}, {kTarget, to.get()}});
  }

  int argument_;
  bool is_output_;
  size_t bytes_ = 0;
  Owned outside_, inside_{nullptr, library.memory_destroy};
  Owned reorder_{nullptr, library.primitive_destroy};
};

// A primitive, and its arrays in the order of MindSpore's arguments.
struct Computation {
  std::vector<Array> arrays;
  Owned primitive{nullptr, library.primitive_destroy};

  void run(void** data) {
    static Buffer buffers[4];
    std::vector<Argument> arguments;
    for (size_t place = 0; place < arrays.size(); ++place) {
      arguments.push_back(arrays[place].opened(data[place], buffers[place]));
    }
    execute(primitive, arguments);
    for (const Array& array : arrays) array.close();
    check(library.stream_wait(stream), "stream");
  }
};

// The computation with this key, made once. Programs have few shapes; a server may see many.
template <typename Make>
Computation& computation(const Shape& key, Make make) {
  static std::map<Shape, std::unique_ptr<Computation>> made;
  const auto found = made.find(key);
  if (found != made.end()) return *found->second;
  if (made.size() >= 1000) made.clear();
  return *(made[key] = make());
}

template <typename Create>
Owned described(Create create) {
  Handle made = nullptr;
  check(create(&made), "description");
  return {made, library.primitive_desc_destroy};
}

// ---- Convolutions ----

enum Kind { kForward, kBackwardData, kBackwardWeights, kGeluForward, kGeluBackward };

// A convolution's geometry, from the shapes of MindSpore's arrays.
//
// `settings` is (row stride, column stride, row dilation, column dilation) for images (N, C, H, W)
// and weights (O, C, rows, columns), or (frames T of a clip, stride of rows and columns) for frames
// (N * T, C, H, W) and weights (O, C, frames, rows, columns). Weights (C, 1, ...) are depthwise.
class Convolution {
 public:
  Convolution(const Shape& x, const Shape& weight, const Shape& y, const Shape& settings)
      : weight_(weight) {
    if (settings.size() == 4) {
      x_ = x, y_ = y;
      strides_ = {settings[0], settings[1]};
      gaps_ = {settings[2] - 1, settings[3] - 1};
    } else {
      x_ = volume(x, settings[0]), y_ = volume(y, settings[0]);
      strides_ = {1, settings[1], settings[1]};
      gaps_ = {0, 0, 0};
      if (weight[1] < x[1]) weight_ = {x[1], 1, 1, weight[2], weight[3], weight[4]};
    }
    const size_t first = weight_.size() - strides_.size();
    for (size_t axis = 0; axis < strides_.size(); ++axis) {
      const int64_t reach = (weight_[first + axis] - 1) * (gaps_[axis] + 1);
      const int64_t last = (y_[2 + axis] - 1) * strides_[axis];  // the last place of the kernel
      before_.push_back(reach / 2);
      after_.push_back(last + reach + 1 - x_[2 + axis] - reach / 2);
    }
  }

  std::unique_ptr<Computation> computation(Kind kind, bool has_bias) const {
    const Owned x = in_any_order(x_), weight = in_any_order(weight_), y = in_any_order(y_);
    const Owned bias = in_plain_order({y_[1]});
    const Owned forward = described([&](Handle* made) {
      return library.convolution_forward_primitive_desc_create(
          made, engine, kind == kForward ? kInference : kTraining, kDirect, x.get(), weight.get(),
          has_bias ? bias.get() : nullptr, y.get(), strides_.data(), gaps_.data(), before_.data(),
          after_.data(), nullptr);
    });
    auto result = std::make_unique<Computation>();
    const auto finish = [&](const Owned& desc, std::initializer_list<Place> places) {
      for (const Place& place : places) {
        const Handle inner = library.primitive_desc_query_md(desc.get(), place.order, place.index);
        const bool is_output = &place == places.end() - 1;
        result->arrays.emplace_back(place.argument, place.outer.get(), inner, is_output);
      }
      result->primitive = primitive_of(desc.get());
    };
    const Owned outer_x = outer(x_), outer_y = outer(y_), outer_weight = in_plain_order(weight_);
    const Place gradient{kTarget + kGradientOf, outer_y, kTargetOrder + kGradientsOrder};
    if (kind == kBackwardData) {
      finish(described([&](Handle* made) {
               return library.convolution_backward_data_primitive_desc_create(
                   made, engine, kDirect, x.get(), weight.get(), y.get(), strides_.data(),
                   gaps_.data(), before_.data(), after_.data(), forward.get(), nullptr);
             }),
             {gradient,
              {kWeights, outer_weight, kWeightsOrder},
              {kSource + kGradientOf, outer_x, kSourceOrder + kGradientsOrder}});
    } else if (kind == kBackwardWeights) {
      finish(described([&](Handle* made) {
               return library.convolution_backward_weights_primitive_desc_create(
                   made, engine, kDirect, x.get(), weight.get(), nullptr, y.get(), strides_.data(),
                   gaps_.data(), before_.data(), after_.data(), forward.get(), nullptr);
             }),
             {{kSource, outer_x, kSourceOrder},
              gradient,
              {kWeights + kGradientOf, outer_weight, kWeightsOrder + kGradientsOrder}});
    } else if (has_bias) {
      finish(forward, {{kSource, outer_x, kSourceOrder},
                       {kWeights, outer_weight, kWeightsOrder},
                       {kBias, bias, kWeightsOrder, 1},
                       {kTarget, outer_y, kTargetOrder}});
    } else {
      finish(forward, {{kSource, outer_x, kSourceOrder},
                       {kWeights, outer_weight, kWeightsOrder},
                       {kTarget, outer_y, kTargetOrder}});
    }
    return result;
  }

 private:
  struct Place {
    int argument;
    const Owned& outer;
    int order;
    int index = 0;
  };

  // (N * T, C, H, W) -> (N, C, T, H, W)
  static Shape volume(const Shape& images, int64_t frames) {
    return {images[0] / frames, images[1], frames, images[2], images[3]};
  }

  // How MindSpore stores images or a volume.
  static Owned outer(const Shape& shape) {
    if (shape.size() == 4) return in_plain_order(shape);
    const int64_t plane = shape[3] * shape[4], image = shape[1] * plane;
    return with_strides(shape, {shape[2] * image, plane, image, shape[4], 1});
  }

  Shape x_, weight_, y_, strides_, gaps_, before_, after_;
};

// ---- Functions for MindSpore ----

Shape key_of(Kind kind, const std::vector<Shape>& shapes) {
  Shape key{kind};
  for (const Shape& shape : shapes) {
    key.push_back(shape.size());
    key.insert(key.end(), shape.begin(), shape.end());
  }
  return key;
}

// Call `compute`; an error is printed, and MindSpore is told with a status other than 0.
template <typename Compute>
int guarded(Compute compute) {
  std::lock_guard<std::mutex> lock(one_at_a_time);
  try {
    compute();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

void convolve(Kind kind, bool has_bias, const Shape& x, const Shape& weight, const Shape& y,
              const Shape& settings, void** data) {
  computation(key_of(kind, {x, weight, y, settings, {has_bias}}), [&] {
    return Convolution(x, weight, y, settings).computation(kind, has_bias);
  }).run(data);
}

int64_t size_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::unique_ptr<Computation> gelu(const Shape& shape, bool backward) {
  const Owned array = in_plain_order(shape);
  const Owned forward = described([&](Handle* made) {
    return library.eltwise_forward_primitive_desc_create(made, engine,
                                                         backward ? kTraining : kInference,
                                                         kExactGelu, array.get(), array.get(), 0, 0,
                                                         nullptr);
  });
  auto result = std::make_unique<Computation>();
  const auto add = [&](int argument, bool is_output) {
    result->arrays.emplace_back(argument, array.get(), array.get(), is_output);
  };
  add(kSource, false);
  if (!backward) {
    add(kTarget, true);
    result->primitive = primitive_of(forward.get());
    return result;
  }
  add(kTarget + kGradientOf, false);
  add(kSource + kGradientOf, true);
  const Owned desc = described([&](Handle* made) {
    return library.eltwise_backward_primitive_desc_create(made, engine, kExactGelu, array.get(),
                                                          array.get(), array.get(), 0, 0,
                                                          forward.get(), nullptr);
  });
  result->primitive = primitive_of(desc.get());
  return result;
}

float* numbers(void** data, int place) { return static_cast<float*>(data[place]); }

// ---- Batch norms ----

#if defined(__x86_64__)
#define FAST __attribute__((target("avx2")))  // open_library requires it
#else
#define FAST
#endif

// The sum of value(i) over i < size.
template <typename Value>
FAST double sum_of(int64_t size, Value value) {
  constexpr int kLanes = 16;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += value(i + lane);
  }
  double total = 0;
  for (float lane : lanes) total += lane;
  for (; i < size; ++i) total += value(i);
  return total;
}

// out[i] = value(i) for i < size.
template <typename Value>
FAST void fill(float* out, int64_t size, Value value) {
  for (int64_t i = 0; i < size; ++i) out[i] = value(i);
}

// (N, C, ...) as planes: plane (n, c) begins at number (n * C + c) * size.
struct Planes {
  explicit Planes(const Shape& shape)
      : clips(shape[0]), channels(shape[1]), size(size_of(shape) / (shape[0] * shape[1])) {}

  int64_t begin(int64_t clip, int64_t channel) const { return (clip * channels + channel) * size; }

  // Call part(channel) for all channels.
  template <typename Part>
  void for_each_channel(Part part) const {
    threads->parallel_for(channels, [&](int channel, int) { part(channel); });
  }

  // The mean of value(i) over the numbers of a channel.
  template <typename Value>
  double mean(int64_t channel, Value value) const {
    double total = 0;
    for (int64_t clip = 0; clip < clips; ++clip) {
      const int64_t first = begin(clip, channel);
      total += sum_of(size, [&](int64_t i) { return value(first + i); });
    }
    return total / (clips * size);
  }

  // out[i] = value(i) for the numbers of a channel.
  template <typename Value>
  void fill_channel(float* out, int64_t channel, Value value) const {
    for (int64_t clip = 0; clip < clips; ++clip) {
      const int64_t first = begin(clip, channel);
      fill(out + first, size, [&](int64_t i) { return value(first + i); });
    }
  }

  const int64_t clips, channels, size;
};

// x, weight, bias, running mean, running variance, (epsilon, momentum)
// -> out, mean, 1 / deviation, new running mean, new running variance
template <bool relu>
void batch_norm(const Planes& planes, void** data) {
  const float *x = numbers(data, 0), *weight = numbers(data, 1), *bias = numbers(data, 2);
  const float *old_mean = numbers(data, 3), *old_variance = numbers(data, 4);
  const float epsilon = numbers(data, 5)[0], momentum = numbers(data, 5)[1];
  float *out = numbers(data, 6), *means = numbers(data, 7), *inverses = numbers(data, 8);
  float *new_mean = numbers(data, 9), *new_variance = numbers(data, 10);
  const double count = planes.clips * planes.size;
  planes.for_each_channel([&](int64_t channel) {
    const float mean = planes.mean(channel, [&](int64_t i) { return x[i]; });
    const double variance = planes.mean(channel, [&](int64_t i) {
      return (x[i] - mean) * (x[i] - mean);
    });
    const float inverse = 1 / std::sqrt(variance + epsilon);
    const float scale = weight[channel] * inverse, shift = bias[channel] - mean * scale;
    planes.fill_channel(out, channel, [&](int64_t i) {
      const float value = x[i] * scale + shift;
      return relu && 0 > value ? 0 : value;
    });
    const double unbiased = variance * (count / std::max(count - 1, 1.0));
    means[channel] = mean, inverses[channel] = inverse;
    new_mean[channel] = old_mean[channel] + momentum * (mean - old_mean[channel]);
    new_variance[channel] =
        old_variance[channel] + momentum * (unbiased - old_variance[channel]);
  });
}

// gradient of out, x, weight, bias, mean, 1 / deviation -> gradients of x, weight and bias
template <bool relu>
void batch_norm_gradient(const Planes& planes, void** data) {
  const float *dout = numbers(data, 0), *x = numbers(data, 1);
  const float *weight = numbers(data, 2), *bias = numbers(data, 3);
  const float *means = numbers(data, 4), *inverses = numbers(data, 5);
  float *dx = numbers(data, 6), *dweight = numbers(data, 7), *dbias = numbers(data, 8);
  const double count = planes.clips * planes.size;
  planes.for_each_channel([&](int64_t channel) {
    const float mean = means[channel], inverse = inverses[channel];
    const float scale = weight[channel] * inverse, shift = bias[channel] - mean * scale;
    const auto gradient = [&](int64_t i) {
      const float passed = dout[i], out = x[i] * scale + shift;  // both read: faster than branches
      return !relu || out > 0 ? passed : 0;
    };
    const float of_shift = planes.mean(channel, gradient);
    const double product = planes.mean(channel, [&](int64_t i) {
      return gradient(i) * (x[i] - mean);
    });
    const float of_scale = product * inverse * inverse;
    planes.fill_channel(dx, channel, [&](int64_t i) {
      return scale * (gradient(i) - of_shift - (x[i] - mean) * of_scale);
    });
    dweight[channel] = product * inverse * count;
    dbias[channel] = of_shift * count;
  });
}

// x, weight, bias, mean, variance, (epsilon, momentum) -> out
template <bool relu>
void running_norm(const Planes& planes, void** data) {
  const float *x = numbers(data, 0), *weight = numbers(data, 1), *bias = numbers(data, 2);
  const float *means = numbers(data, 3), *variances = numbers(data, 4);
  const float epsilon = numbers(data, 5)[0];
  float* out = numbers(data, 6);
  planes.for_each_channel([&](int64_t channel) {
    const float scale = weight[channel] / std::sqrt(variances[channel] + epsilon);
    const float shift = bias[channel] - means[channel] * scale;
    planes.fill_channel(out, channel, [&](int64_t i) {
      const float value = x[i] * scale + shift;
      return relu && 0 > value ? 0 : value;
    });
  });
}

// x, bias -> ReLU of x + bias
void relu_of_biased(const Planes& planes, void** data) {
  const float *x = numbers(data, 0), *bias = numbers(data, 1);
  float* out = numbers(data, 2);
  planes.for_each_channel([&](int64_t channel) {
    const float shift = bias[channel];
    planes.fill_channel(out, channel, [&](int64_t i) {
      const float value = x[i] + shift;
      return 0 > value ? 0 : value;
    });
  });
}

// ---- Sums ----

// x, y -> x + y, or its ReLU, which keeps NaN. A shorter y is added to each part of x of its size.
template <bool relu>
void add(int64_t size, int64_t y_size, void** data) {
  const float *x = numbers(data, 0), *y = numbers(data, 1);
  float* out = numbers(data, 2);
  const int count = threads->get_num_threads();
  threads->parallel_for(count, [&](int number, int parts) {
    const int64_t last = size * (number + 1) / parts;
    for (int64_t first = size * number / parts; first < last;) {
      const int64_t place = first % y_size;
      const int64_t length = std::min(last - first, y_size - place);
      for (int64_t i = 0; i < length; ++i) {
        const float sum = x[first + i] + y[place + i];
        out[first + i] = relu && 0 > sum ? 0 : sum;
      }
      first += length;
    }
  });
}

}  // namespace

extern "C" {

// The SHA-256 of this file when it was compiled.
const char* flag3d_source() { return FLAG3D_SOURCE; }

// Open oneDNN; call it once, before the other functions. Returns 0, or 1 and writes a reason.
int flag3d_open(const char* path, int num_threads, char* reason, int size) {
  try {
    open_library(path, num_threads);
    return 0;
  } catch (const std::exception& error) {
    std::snprintf(reason, size, "%s", error.what());
    return 1;
  }
}

#define ARGUMENTS                                                                              \
  int count, void **data, int *dims, int64_t **sizes, const char **types, void *mindspore_stream, \
      void *extra
#define SHAPE(place) Shape(sizes[place], sizes[place] + dims[place])
#define SIZE(place) size_of(SHAPE(place))

// x, weight[, bias], settings -> y. Only the shape of `settings` counts; see Convolution.
int flag3d_convolution(ARGUMENTS) {
  return guarded([&] {
    const bool has_bias = count == 5;
    const int settings = has_bias ? 3 : 2;
    std::vector<void*> arrays(data, data + settings);
    arrays.push_back(data[count - 1]);
    convolve(kForward, has_bias, SHAPE(0), SHAPE(1), SHAPE(count - 1), SHAPE(settings),
             arrays.data());
  });
}

// gradient of y, weight, x, settings -> gradient of x. Only the shape of x counts.
int flag3d_convolution_data_gradient(ARGUMENTS) {
  return guarded([&] {
    void* arrays[] = {data[0], data[1], data[4]};
    convolve(kBackwardData, false, SHAPE(4), SHAPE(1), SHAPE(0), SHAPE(3), arrays);
  });
}

// x, gradient of y, weight, settings -> gradient of the weight. Only the shape of the weight counts.
int flag3d_convolution_weight_gradient(ARGUMENTS) {
  return guarded([&] {
    void* arrays[] = {data[0], data[1], data[4]};
    convolve(kBackwardWeights, false, SHAPE(0), SHAPE(4), SHAPE(1), SHAPE(3), arrays);
  });
}

// `function` of the planes of the array at `place`.
#define OF_PLANES(name, function, place)                             \
  int flag3d_##name(ARGUMENTS) {                                     \
    return guarded([&] { function(Planes(SHAPE(place)), data); });   \
  }
OF_PLANES(batch_norm, batch_norm<false>, 0)
OF_PLANES(batch_norm_relu, batch_norm<true>, 0)
OF_PLANES(batch_norm_gradient, batch_norm_gradient<false>, 1)
OF_PLANES(batch_norm_relu_gradient, batch_norm_gradient<true>, 1)
OF_PLANES(running_norm, running_norm<false>, 0)
OF_PLANES(running_norm_relu, running_norm<true>, 0)
OF_PLANES(relu_of_biased, relu_of_biased, 0)

// x, y -> x + y
int flag3d_sum(ARGUMENTS) {
  return guarded([&] { add<false>(SIZE(0), SIZE(1), data); });
}

// x, y -> ReLU of x + y
int flag3d_relu_of_sum(ARGUMENTS) {
  return guarded([&] { add<true>(SIZE(0), SIZE(1), data); });
}

// x -> GELU of x
int flag3d_gelu(ARGUMENTS) {
  return guarded([&] {
    const Shape shape{SIZE(0)};
    computation(key_of(kGeluForward, {shape}), [&] { return gelu(shape, false); }).run(data);
  });
}

// x, gradient of the GELU -> gradient of x
int flag3d_gelu_gradient(ARGUMENTS) {
  return guarded([&] {
    const Shape shape{SIZE(0)};
    computation(key_of(kGeluBackward, {shape}), [&] { return gelu(shape, true); }).run(data);
  });
}

}  // extern "C"
