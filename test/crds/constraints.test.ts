import { expect, test } from 'vitest';
import type { z } from 'zod';
import { constraints } from '../../api/constraint.ts';
import { CredentialSpec } from '../../api/credential.ts';
import { IntegrationSpec } from '../../api/integration.ts';

interface Refinement {
  path: string;
  check: object;
  message: string;
  /** `CEL`, or what does it instead; undefined if nobody has said. */
  by: string | undefined;
}

const KINDS = { Credential: CredentialSpec, Integration: IntegrationSpec };

test.for(Object.entries(KINDS))('every refinement of %s is in the CRD, or it is said why not', ([, spec]) => {
  const all = refinements(spec, 'spec');
  expect(all.length).toBeGreaterThan(15);
  expect(all.filter(({ by }) => by === undefined).map(({ path }) => path)).toEqual([]);
});

test('docs/reference/refusals.md lists what is refused besides the shape, and by what the API server does it', async () => {
  const sections = Object.entries(KINDS).map(([kind, spec]) => {
    const rows = refinements(spec, 'spec').map(({ by, message, path }) => `| \`${path}\` | ${cell(message)} | ${by} |`);
    return `## ${kind}\n\n| field | refused with | by the API server |\n|---|---|---|\n${rows.join('\n')}\n`;
  });
  const head = `# What is refused

Besides types, bounds and enumerations ([objects.md](objects.md)): what both \`sidekey up\` and the API server refuse, with the same words. The API server does it by CEL in the
CRDs. This page is written from the schemas by \`make goldens\`, and a test keeps it so. Two rules are the API server's alone, because they are not about the spec or
compare with the object before: a name has at most 63 characters and no dot, and \`spec.source.perUser\` can neither be added to a Credential nor taken from it.
`;
  await expect([head, ...sections].join('\n')).toMatchFileSnapshot('../../docs/reference/refusals.md');
});

/** Refinements and patterns with words of their own, wherever they are. */
function refinements(schema: z.core.$ZodType, path: string): Refinement[] {
  const def = schema._zod.def as z.core.$ZodTypeDef & {
    innerType?: z.core.$ZodType;
    element?: z.core.$ZodType;
    valueType?: z.core.$ZodType;
    shape?: Record<string, z.core.$ZodType>;
  };
  const stated = constraints.get(schema)?.stated ?? [];
  const own = (def.checks ?? []).flatMap((check): Refinement[] => {
    const {
      check: kind,
      error,
      format,
    } = check._zod.def as {
      check: string;
      format?: string;
      error?: (issue: never) => unknown;
    };
    const entry = stated.find((entry) => entry.check === check);
    if (kind === 'custom') {
      const by = typeof entry?.cel === 'object' ? entry.cel.unneeded : entry && 'CEL';
      return [{ path, check, message: entry?.message ?? '', by }];
    }
    // The generator makes CEL of these (crds/generate/structural.ts).
    if (format === 'regex' && error !== undefined)
      return [{ path, check, message: String(error({} as never)), by: 'CEL' }];
    return [];
  });
  const below = [
    ...(def.innerType ? refinements(def.innerType, path) : []),
    ...(def.element ? refinements(def.element, `${path}[]`) : []),
    ...(def.valueType ? refinements(def.valueType, `${path}.*`) : []),
    ...Object.entries(def.shape ?? {}).flatMap(([name, field]) => refinements(field, `${path}.${name}`)),
  ];
  return [...own, ...below];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
