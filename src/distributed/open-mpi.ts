/**
 * @file Open MPI's library, called through koffi: no compile step, no header files.
 *
 * In Open MPI's ABI handles are addresses of the library's own symbols (`ompi_mpi_comm_world`, `ompi_mpi_float`), where MPICH's are
 * integers: the two cannot be exchanged. Collectives run on a thread of libuv's pool (koffi's `async`), so the event loop lives while
 * they wait. They read and write the given arrays in place, also those in WebAssembly memory. MPI's own error handler ends the whole
 * job when an operation fails.
 */
import { UserError } from "../errors.js";
import type { Communicator, CommunicatorHandle, Summable } from "./communicator.js";

const INSTALL = "Install it (Debian, Ubuntu: apt-get install openmpi-bin) on every machine";
/** Open MPI 2 to 5 under Linux, its development link, macOS. */
const libraryNames = ["libmpi.so.40", "libmpi.so", "libmpi.40.dylib", "libmpi.dylib"];
const IN_PLACE = 1n;
const THREAD_MULTIPLE = 3;

type Argument = bigint | number | ArrayBufferView | (number | bigint | null)[] | null;
interface NativeFunction {
  (...values: Argument[]): number;
  async(...values: [...Argument[], (error: Error | null, result: number) => void]): void;
}

/** The library and the few functions of it that are used here. Each thread opens its own; the library is there once. */
export class OpenMpi {
  readonly #functions = new Map<string, NativeFunction>();

  private constructor(
    /** Name or path the library was opened by. */
    readonly library: string,
    private readonly native: import("koffi").LibraryHandle,
  ) {}

  /**
   * @param names file names or paths, the first that opens is taken
   * @throws UserError when there is none, or it is another MPI's
   */
  static async open(names: readonly string[] = libraryNames): Promise<OpenMpi> {
    // An optional dependency: only jobs of several ranks need it.
    const { default: koffi } = await import("koffi").catch((error: Error) => {
      throw new UserError(
        `Several ranks need the package koffi, which cannot be loaded here: ${error.message}. ` +
          "Install without --omit=optional, or train in one process.",
        { cause: error },
      );
    });
    const failures: string[] = [];
    for (const name of names) {
      let native: import("koffi").LibraryHandle;
      try {
        // global: Open MPI opens plug-ins, which look for its symbols among those that everybody sees.
        native = koffi.load(name, { global: true });
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        continue;
      }
      const mpi = new OpenMpi(name, native);
      mpi.#requireAbi();
      // Opened once more and never closed: koffi unloads its libraries when a thread ends, but Open MPI's own threads (TCP) go on running
      // its code until the process is gone.
      const RTLD_NOW = 2;
      koffi.load(null).func("void* dlopen(const char*, int)")(name, RTLD_NOW);
      return mpi;
    }
    throw new UserError(
      `This process is one of several (mpirun started it), but Open MPI's library cannot be loaded: ${failures.join("; ")}. ` +
        `${INSTALL}, or name the library's file in MOE_DIFFUSEQ_MPI_LIBRARY.`,
    );
  }

  #requireAbi(): void {
    try {
      this.symbol("ompi_mpi_comm_world");
    } catch {
      throw new UserError(
        `Expected ${this.library} to be Open MPI's library, but it is another one's (MPICH has another ABI). ` +
          `${INSTALL}, or name its file in MOE_DIFFUSEQ_MPI_LIBRARY.`,
      );
    }
  }

  /** Address of a predefined handle. */
  symbol(name: string): bigint {
    return this.native.symbol(name, "char") as bigint;
  }

  /** A function, by its C declaration. */
  function(declaration: string): NativeFunction {
    let found = this.#functions.get(declaration);
    if (!found) {
      found = this.native.func(declaration) as unknown as NativeFunction;
      this.#functions.set(declaration, found);
    }
    return found;
  }

  /** Starts MPI in this process; once, by whichever thread. Returns all ranks. */
  initialise(): OpenMpiCommunicator {
    const provided = [0];
    check(
      "MPI_Init_thread",
      this.function("int MPI_Init_thread(void*, void*, int, _Out_ int*)")(
        null,
        null,
        THREAD_MULTIPLE,
        provided,
      ),
    );
    if (provided[0] < THREAD_MULTIPLE)
      throw new UserError(
        `Expected an Open MPI that several threads may call (MPI_THREAD_MULTIPLE), but ${this.library} was built without; ` +
          "use Open MPI 4 or newer.",
      );
    const world = this.symbol("ompi_mpi_comm_world");
    const [rank, size] = [[-1], [-1]];
    check("MPI_Comm_rank", this.function("int MPI_Comm_rank(void*, _Out_ int*)")(world, rank));
    check("MPI_Comm_size", this.function("int MPI_Comm_size(void*, _Out_ int*)")(world, size));
    const handle = { library: this.library, address: world, rank: rank[0], size: size[0] };
    return new OpenMpiCommunicator(this, handle);
  }

  /** Waits for all ranks, then leaves MPI. Nothing may be called afterwards. */
  finalise(): void {
    check("MPI_Finalize", this.function("int MPI_Finalize()")());
  }

  /** Ends the processes of all ranks, this one too. */
  abort(exitCode: number): void {
    this.function("int MPI_Abort(void*, int)")(this.symbol("ompi_mpi_comm_world"), exitCode);
  }
}

function check(operation: string, code: number): void {
  if (code !== 0) throw new Error(`${operation} failed with code ${code}`);
}

export class OpenMpiCommunicator implements Communicator {
  constructor(
    private readonly mpi: OpenMpi,
    readonly handle: CommunicatorHandle,
  ) {}

  get rank(): number {
    return this.handle.rank;
  }
  get size(): number {
    return this.handle.size;
  }

  allReduce(values: Summable): Promise<void> {
    return this.#call(
      "int MPI_Allreduce(intptr_t, void*, int, void*, void*, void*)",
      IN_PLACE,
      values,
      values.length,
      this.#type(values),
      this.mpi.symbol("ompi_mpi_op_sum"),
    );
  }

  reduceScatter(values: Float32Array, own: Float32Array): Promise<void> {
    return this.#call(
      "int MPI_Reduce_scatter_block(void*, void*, int, void*, void*, void*)",
      values,
      own,
      this.#part(values),
      this.#type(values),
      this.mpi.symbol("ompi_mpi_op_sum"),
    );
  }

  allGather(values: Float32Array): Promise<void> {
    const [part, type] = [this.#part(values), this.#type(values)];
    return this.#call(
      "int MPI_Allgather(intptr_t, int, void*, void*, int, void*, void*)",
      IN_PLACE,
      0,
      null,
      values,
      part,
      type,
    );
  }

  broadcast(values: Float32Array | Uint8Array): Promise<void> {
    return this.#call(
      "int MPI_Bcast(void*, int, void*, int, void*)",
      values,
      values.length,
      this.#type(values),
      0,
    );
  }

  barrier(): Promise<void> {
    return this.#call("int MPI_Barrier(void*)");
  }

  async duplicate(): Promise<OpenMpiCommunicator> {
    const made: [bigint | null] = [null];
    const declaration = "int MPI_Comm_dup(void*, _Out_ void**)";
    check("MPI_Comm_dup", this.mpi.function(declaration)(this.handle.address, made));
    return new OpenMpiCommunicator(this.mpi, { ...this.handle, address: made[0]! });
  }

  /** Elements of one rank's part of `values`. */
  #part(values: Float32Array): number {
    if (values.length % this.size !== 0)
      throw new Error(
        `expected a multiple of ${this.size} values, a part for each rank, got ${values.length}`,
      );
    return values.length / this.size;
  }

  #type(values: Summable | Uint8Array): bigint {
    const names = { 1: "ompi_mpi_byte", 4: "ompi_mpi_float", 8: "ompi_mpi_double" } as const;
    return this.mpi.symbol(names[values.BYTES_PER_ELEMENT as keyof typeof names]);
  }

  /** Calls a collective, whose last argument is always the communicator. Empty arrays are welcome everywhere. */
  #call(declaration: string, ...values: Argument[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.mpi.function(declaration).async(...values, this.handle.address, (error, code) => {
        if (error) reject(error);
        else if (code !== 0) reject(new Error(`${declaration} failed with code ${code}`));
        else resolve();
      });
    });
  }
}

/** The communicator behind a handle that another thread of this process sent. */
export const attach = async (handle: CommunicatorHandle): Promise<Communicator> =>
  new OpenMpiCommunicator(await OpenMpi.open([handle.library]), handle);
