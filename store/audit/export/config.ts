import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { Duration, durationSeconds } from '../../../api/duration.ts';
import { LabelName } from '../../../api/metadata.ts';
import { AUDIT_FORMATS } from '../../../lib/audit/format.ts';
import { errorCode, errorText } from '../../../lib/errors.ts';
import { storeError } from '../../errors.ts';

const Path = z.string().min(1).max(4096).refine(isAbsolute, { error: 'expected an absolute path' });
const Format = z.enum(AUDIT_FORMATS).default('jsonl');

const FileTarget = z.strictObject({
  path: Path,
  /** From this size on a new file is begun. */
  maxBytes: z
    .int()
    .min(4096)
    .default(100 * 1024 * 1024),
  /** Files before the current one that are kept. */
  keep: z.int().min(1).max(1000).default(10),
});

const SyslogTarget = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535),
  transport: z.enum(['TLS', 'TCP', 'UDP']),
  /** PEM file of the CAs that the receiver is verified against; the system's without it. */
  caFile: Path.optional(),
  /** RFC 5424 section 6.2.1; 13 is log audit. */
  facility: z.int().min(0).max(23).default(13),
});

const OtlpTarget = z.strictObject({
  /** The whole address, such as https://collector.example:4318/v1/logs. */
  url: z.url({ protocol: /^https?$/, error: 'expected an http or https URL' }).max(2048),
  caFile: Path.optional(),
  /** File with a `name: value` line for each header, such as for a token; read anew for each request. */
  headersFile: Path.optional(),
});

const Export = z
  .strictObject({
    name: LabelName,
    format: Format,
    file: FileTarget.optional(),
    syslog: SyslogTarget.optional(),
    otlp: OtlpTarget.optional(),
  })
  .refine((one) => [one.file, one.syslog, one.otlp].filter((target) => target !== undefined).length === 1, {
    error: 'expected exactly one of file, syslog and otlp',
  });

const AuditConfigSchema = z.strictObject({
  /** How long entries stay at least; without it for ever. */
  retention: Duration.refine((text) => durationSeconds(text) >= 3600, { error: 'expected at least 1h' }).optional(),
  exports: z
    .array(Export)
    .max(8)
    .refine((exports) => new Set(exports.map(({ name }) => name)).size === exports.length, {
      error: 'two exports have the same name',
    })
    .default([]),
});

export type AuditConfig = z.infer<typeof AuditConfigSchema>;
export type ExportConfig = z.infer<typeof Export>;
export type FileTarget = z.infer<typeof FileTarget>;
export type SyslogTarget = z.infer<typeof SyslogTarget>;
export type OtlpTarget = z.infer<typeof OtlpTarget>;

/** What audit.yaml of the state directory asks for; nothing if there is none. @throws AuditConfigInvalid */
export function readAuditConfig(path: string): AuditConfig {
  let value: unknown;
  try {
    value = parse(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { exports: [] };
    throw storeError('AuditConfigInvalid', `${path} cannot be read: ${errorText(error)}`);
  }
  const result = AuditConfigSchema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path: at, message }) => `${at.join('.') || 'it'}: ${message}`);
  throw storeError('AuditConfigInvalid', `${path} is not valid: ${problems.join('; ')}.`);
}
