import { resolve } from 'node:path';
import { z } from 'zod';
import type { KekSpec as KekSpecType } from '../../api/bootstrap.ts';
import { FileKek } from './fileKek.ts';
import type { KekProvider } from './kek.ts';
import { SecretDirKek } from './secretDirKek.ts';
import { TransitKek } from './transit/transitKek.ts';

const Path = z.string().min(1).max(4096);
/** Names as the engine's own routes have them. */
const KeyName = z.string().regex(/^\w(?:[\w.-]{0,126}\w)?$/);
const Mount = z.string().regex(/^[\w-]+(?:\/[\w-]+)*$/);

export const KekSpec: z.ZodType<KekSpecType> = z.union([
  z.strictObject({ file: Path }),
  z.strictObject({ secretDir: Path }),
  z.strictObject({
    transit: z.strictObject({
      address: z.url({ protocol: /^https?$/ }),
      keyName: KeyName,
      tokenFile: Path,
      caFile: Path.optional(),
      mount: Mount.optional(),
      namespace: z.string().min(1).max(256).optional(),
    }),
  }),
]);
export type KekSpec = KekSpecType;

/** The provider that a spec is for. @throws KekMissing, KekExposed, KekMalformed (a file), KekUnsuitable */
export function openKek(spec: KekSpec, stateDir: string): KekProvider {
  if ('file' in spec) return new FileKek(resolve(stateDir, spec.file));
  if ('secretDir' in spec) return new SecretDirKek(resolve(stateDir, spec.secretDir));
  const { tokenFile, caFile, ...rest } = spec.transit;
  return new TransitKek({
    ...rest,
    tokenFile: resolve(stateDir, tokenFile),
    ...(caFile !== undefined && { caFile: resolve(stateDir, caFile) }),
  });
}

/** Whether two specs are for the same keys, reached in whatever way. */
export function sameKek(a: KekSpec, b: KekSpec, stateDir: string): boolean {
  return identity(a, stateDir) === identity(b, stateDir);
}

function identity(spec: KekSpec, stateDir: string): string {
  if ('file' in spec) return `file ${resolve(stateDir, spec.file)}`;
  if ('secretDir' in spec) return `secret ${resolve(stateDir, spec.secretDir)}`;
  return `transit ${spec.transit.mount ?? 'transit'}/${spec.transit.keyName}`;
}
