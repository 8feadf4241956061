import { z } from 'zod';
import type { OperatorBootstrap as OperatorBootstrapType } from '../api/bootstrap.ts';

const isHttpsUrl = (url: string) => z.url({ protocol: /^https$/ }).safeParse(url).success;

/** What the parent process hands over on file descriptor 3. */
export const OperatorBootstrap = z.strictObject({
  part: z.literal('operator'),
  storeUrl: z.string().refine((urls) => urls.split(',').every(isHttpsUrl), 'https:// URLs with commas between'),
  trustBundlePem: z.string().min(1),
  joinToken: z.string().min(1),
  folder: z.string().min(1),
  statusFile: z.string().min(1),
}) satisfies z.ZodType<OperatorBootstrapType>;
export type OperatorBootstrap = OperatorBootstrapType;
