import { EXIT, type ExitCode } from './exitCodes.ts';

/** A command that cannot go on: what happened and where (`message`), and what to do next. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly next: string | undefined;

  constructor(code: string, message: string, options: { exit?: ExitCode; next?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.exitCode = options.exit ?? EXIT.failed;
    this.next = options.next;
  }
}

/** Wrong arguments, told as such. */
export function usageError(message: string, next?: string): CliError {
  return new CliError('Usage', message, { exit: EXIT.usage, ...(next !== undefined && { next }) });
}
