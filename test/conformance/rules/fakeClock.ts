/**
 * Preloaded into a sidecar process: a wall clock that jumps by the next of TEST_CLOCK (JSON, milliseconds each) at every SIGUSR2.
 * The monotonic clock goes on as it does on a machine whose clock is set.
 */
const steps: number[] = JSON.parse(process.env.TEST_CLOCK ?? '[]');
const now = Date.now;
let offsetMs = 0;

Date.now = () => now() + offsetMs;
process.on('SIGUSR2', () => {
  offsetMs += steps.shift() ?? 0;
});
