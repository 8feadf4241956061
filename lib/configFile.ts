import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { errorText } from './errors.ts';

const isHttpsUrl = (url: string) => z.url({ protocol: /^https$/ }).safeParse(url).success;

/** Where a store is, or its replicas. */
export const StoreUrls = z
  .string()
  .refine((urls) => urls.split(',').every(isHttpsUrl), 'https:// URLs with commas between');

/** Of the cluster, where it is not what the pod's own ServiceAccount says (lib/kube/inCluster.ts). */
export const ApiServer = z.strictObject({
  url: z.string().optional(),
  caFile: z.string().optional(),
  tokenFile: z.string().optional(),
});

/** What the file of `--config` holds. @throws what `fail` makes of the reason */
export function readConfigFile(file: string, fail: (message: string) => Error): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw fail(`The file ${file} cannot be read: ${errorText(error)}.`);
  }
}

/** The same, as the schema has it. @throws what `fail` makes of the reason */
export function parseConfigFile<T>(file: string, schema: z.ZodType<T>, fail: (message: string) => Error): T {
  const parsed = schema.safeParse(readConfigFile(file, fail));
  if (parsed.success) return parsed.data;
  throw fail(`The file ${file} is not valid: ${problemsOf(parsed.error)}.`);
}

/** `path: what is wrong`, one after the other. */
export function problemsOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
}
