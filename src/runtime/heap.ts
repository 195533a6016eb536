/**
 * @file How the C library keeps the memory that a run of the network frees.
 *
 * glibc gives memory back to the system: the free end of a heap, by a threshold that it raises as it goes, and whatever was large, which
 * it maps anew each time. A training step frees and asks for the same tens or hundreds of megabytes again, and where a new page is dear (a
 * virtual machine) that shows. Within a hundred steps one of 1,152 positions, with experts, went from 0.26 s to 0.43 s, though the graph
 * took 0.2 s all along; told to keep what is free it stayed at 0.25 to 0.3. With experts of 768 x 1,536 in twelve layers every step mapped
 * a gigabyte anew, and took 18 to 21 s; with large blocks from the heap it takes 13.
 */

/** Settings of mallopt(3), and the variables by which a process is started with them. */
const settings = [
  { parameter: -1, variable: "MALLOC_TRIM_THRESHOLD_", value: 2 ** 31 - 1 },
  { parameter: -2, variable: "MALLOC_TOP_PAD_", value: 64 * 2 ** 20 },
  { parameter: -4, variable: "MALLOC_MMAP_MAX_", value: 0 },
] as const;

/** What an environment says itself of memory (`MALLOC_..._`, `GLIBC_TUNABLES`, another allocator), by the names of its variables. */
export const memoryVariables = (environment: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value !== undefined && /^(MALLOC_|(GLIBC_TUNABLES|LD_PRELOAD)$)/.test(name) ? [[name, value]] : [],
    ),
  );

const decides = (environment: NodeJS.ProcessEnv): boolean =>
  Object.keys(memoryVariables(environment)).length > 0;

/** The environment of a process that is to keep what it frees from its start, as PyTorch beside ours is; unchanged where it decides itself. */
export const environmentKeepingMemory = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  decides(environment)
    ? environment
    : {
        ...environment,
        ...Object.fromEntries(settings.map(({ variable, value }) => [variable, String(value)])),
      };

let done = false;

/** For the whole process, once. Does nothing where the environment decides or the C library is another. */
export async function keepFreedMemory(environment: NodeJS.ProcessEnv = process.env): Promise<boolean> {
  if (done || process.platform !== "linux") return done;
  if (decides(environment)) return false;
  try {
    const { default: koffi } = await import("koffi");
    const mallopt = koffi.load("libc.so.6").func("int mallopt(int, int)");
    done = settings.every(({ parameter, value }) => mallopt(parameter, value) === 1);
  } catch {
    // No glibc: nothing of this is known there.
  }
  return done;
}
