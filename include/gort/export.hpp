// Visibility of gort's symbols: the library is built with everything hidden but what is marked so.
#pragma once

#define GORT_API __attribute__((visibility("default")))
