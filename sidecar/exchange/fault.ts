import type { Logger } from '../../lib/log.ts';

/** Logs a fault of ours without its message, which may quote bytes of a request or an answer. */
export function logFault(log: Logger, error: unknown): void {
  const { code, name, stack } = error as Partial<Error & { code: unknown }>;
  const frames = typeof stack === 'string' ? stack.slice(stack.indexOf('\n    at ')) : undefined;
  log.error({ code, name, frames }, 'a request failed for a fault of the sidecar');
}
