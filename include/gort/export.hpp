// Visibility of gort's symbols: the library is built with everything hidden but what is marked so.
#pragma once

// What stands in the library's table of symbols.
#define GORT_API __attribute__((visibility("default")))
