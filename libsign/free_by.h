// The deleter of a std::unique_ptr that frees what a C library made with the function that the library has for it.
#pragma once

namespace gantry::sign {

template <auto function>
struct FreeBy {
  template <typename T>
  void operator()(T* object) const {
    function(object);
  }
};

}  // namespace gantry::sign
