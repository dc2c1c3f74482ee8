// Containers of bundles in virtual machines (annotation dev.gantry.isolation=vm), as the commands of the runtime see
// them.
//
// The container's first process is an attendant on the host, gantry-oci-machine, a program of its own so that no other
// start has its weight. It boots the machine, keeps the program of the bundle back until `start` connects, holds the
// streams, and ends as that program does. Who asks for a process in the machine starts another attendant.
//
//   attendant -> command  kAttendantNote (text), kAttendantReport (Report of the process that enters), kAttendantReady,
//                         or an Error (message.h), over descriptor kAttendantFd
#pragma once

#include <map>
#include <string>

#include "runner/init_params.h"
#include "runner/spec.h"

namespace gantry::runner {

constexpr int kAttendantFd = 3;
// The listening socket of `create`; the parameters of the process that enters (protocol.h).
constexpr int kAttendantInputFd = 4;
constexpr char kAttendantNote = 'n';
constexpr char kAttendantReport = 'r';
constexpr char kAttendantReady = 'c';

// Asks an attendant, with its value, to hand on a signal: of most the kernel would have it die or stop itself.
constexpr int kAskedSignal = 40;

bool InMachine(const std::map<std::string, std::string>& annotations);

// What control groups of the host limit; the rest is the machine's size or holds in it.
SpecResources ResourcesOfMachine(const SpecResources& resources);

// kUnsupported for what only a new machine could have.
void RequireMachineUpdates(const SpecResources& resources);

// What init in the machine is told of a process of the bundle. `filter` must outlive the request.
InitRequest RequestInMachine(const Spec& spec, const SpecProcess& process, std::span<const sock_filter> filter);

// Has the attendant hand on `signal`, or kills it with the machine. False when it is not there.
bool SignalAttendant(int pidfd, int signal);

}  // namespace gantry::runner
