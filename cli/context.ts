import { stringify } from 'yaml';
import { CliError } from './errors.ts';
import { EXIT } from './exitCodes.ts';
import { painter, processTerminal, type Style, type Terminal } from './terminal.ts';

/** What every command gets: where it writes, its environment, where it stands. */
export class Context {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** `--dir` or SIDEKEY_DIR, if either is given. */
  readonly dir: string | undefined;
  readonly output: string;

  constructor(options: { dir?: string | undefined; output?: string | undefined; terminal?: Terminal }) {
    this.terminal = options.terminal ?? processTerminal();
    this.env = this.terminal.env;
    this.cwd = process.cwd();
    this.dir = options.dir ?? (this.env.SIDEKEY_DIR || undefined);
    this.output = options.output ?? 'text';
  }

  /** Whether the store is one in a cluster, whose admin socket is led here for the moment (cluster/adminForward.ts). */
  get forwarded(): boolean {
    return this.env.SIDEKEY_FORWARDED === '1';
  }

  /** Whether a machine reads what is printed. */
  get json(): boolean {
    return this.output === 'json';
  }

  print(text: string): void {
    this.terminal.out.write(`${text}\n`);
  }

  /** One line for the person in front of it, beside the results. */
  note(text: string): void {
    this.terminal.err.write(`${this.#paint('err', 'cyan', 'sidekey:')} ${text}\n`);
  }

  warn(text: string): void {
    this.terminal.err.write(`${this.#paint('err', 'yellow', 'sidekey: warning:')} ${text}\n`);
  }

  /** Prints a result: `text()` for people, the value itself as JSON or YAML. */
  result(value: unknown, text: () => string): void {
    if (this.json) this.print(JSON.stringify(value, null, 2));
    else if (this.output === 'yaml') this.terminal.out.write(stringify(value));
    else {
      const lines = text();
      if (lines !== '') this.print(lines);
    }
  }

  fail(error: unknown): number {
    const known = error instanceof CliError ? error : undefined;
    const message = error instanceof Error ? error.message : String(error);
    if (this.json) {
      const { code = 'InternalError', next } = known ?? {};
      this.terminal.err.write(`${JSON.stringify({ error: { code, message, ...(next && { next }) } })}\n`);
    } else {
      this.terminal.err.write(`${this.#paint('err', 'red', 'sidekey:')} ${message}\n`);
      if (known?.next !== undefined) this.terminal.err.write(`${this.#paint('err', 'dim', '  →')} ${known.next}\n`);
    }
    return known?.exitCode ?? EXIT.failed;
  }

  paint(style: Style, text: string): string {
    return this.#paint('out', style, text);
  }

  #paint(stream: 'out' | 'err', style: Style, text: string): string {
    return painter(this.terminal, stream)(style, text);
  }
}
