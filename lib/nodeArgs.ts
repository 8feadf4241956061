/** Node options of every part: a signal must not open the debugger, which reads memory. */
const EVERYWHERE = ['--disable-sigusr1', '--disable-warning=ExperimentalWarning'];

/**
 * Of the sidecar also what keeps it small, as every pod pays for it. Its requests leave little behind, so 2 MB for what is young are
 * as good as the usual 16; and functions are optimised by the thread that runs them, because the memory of the threads that do it
 * otherwise is never given back: 91 MB under load instead of 103, at the same CPU, for some pauses of a few ms in the first seconds.
 */
const SMALL = ['--max-semi-space-size=2', '--no-concurrent-recompilation'];

/**
 * The operator decides over everything it knows, and each round leaves as much behind: without a bound V8 lets that grow to 450 MB at 5,000
 * Credentials and 5,000 pods, with these to 230.
 */
const BOUNDED = ['--max-semi-space-size=4', '--max-old-space-size=192'];

/** What a part is started with, by whoever starts it. */
export const NODE_ARGS: Readonly<
  Record<'store' | 'operator' | 'webhook' | 'sidecar' | 'listening', readonly string[]>
> = {
  store: EVERYWHERE,
  operator: [...EVERYWHERE, ...BOUNDED],
  webhook: EVERYWHERE,
  sidecar: [...EVERYWHERE, ...SMALL],
  listening: EVERYWHERE,
};
