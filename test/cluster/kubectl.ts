import { spawn } from 'node:child_process';
import { clientBinary } from './binaries.ts';

export interface CommandResult {
  stdout: string;
  stderr: string;
  code: number;
}

export interface KubectlOptions {
  kubeconfigFile: string;
  /** Given on standard input: `-f -`. */
  input?: string | Buffer | undefined;
  /** Where what it learns of the server is kept. */
  cacheDir?: string | undefined;
}

/** Runs kubectl, and says how it went, whatever that was. */
export async function kubectl(args: readonly string[], options: KubectlOptions): Promise<CommandResult> {
  return run(await clientBinary('kubectl'), args, options);
}

/** Runs helm in the same way. */
export async function helm(args: readonly string[], options: KubectlOptions): Promise<CommandResult> {
  return run(await clientBinary('helm'), args, options);
}

/** Runs a program to its end. */
export function run(
  program: string,
  args: readonly string[],
  options: Partial<KubectlOptions> = {},
): Promise<CommandResult> {
  const { cacheDir, input, kubeconfigFile } = options;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...(kubeconfigFile && { KUBECONFIG: kubeconfigFile }),
      ...(cacheDir && {
        KUBECACHEDIR: cacheDir,
        HELM_CACHE_HOME: cacheDir,
        HELM_CONFIG_HOME: cacheDir,
        HELM_DATA_HOME: cacheDir,
      }),
    },
  });
  const result: CommandResult = { stdout: '', stderr: '', code: -1 };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    result.stderr += text;
  });
  // A program that does not read its input may be gone before it is written.
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ...result, code: code ?? (signal === null ? -1 : 128) }));
  });
}
