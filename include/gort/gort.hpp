// gort: goroutines for C++20 on Linux. This header includes all the others.
#pragma once

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/condition_variable.hpp"
#include "gort/errors.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/net.hpp"
#include "gort/os.hpp"
#include "gort/profile.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "gort/timer.hpp"
#include "gort/wait_group.hpp"
