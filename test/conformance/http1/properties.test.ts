import { expect, test } from 'vitest';
import { mutant, Random } from './mutator.ts';
import { checkProperties } from './properties.ts';

test('what `make fuzz` looks for does not occur in the first 5,000 messages', () => {
  const random = new Random(1);
  for (let run = 0; run < 5_000; run++) {
    const input = mutant(random);
    const cuts = [random.below(input.message.length + 1), random.below(input.message.length + 1)].sort((a, b) => a - b);
    expect(() => checkProperties(input, cuts), `${input.answers} ${JSON.stringify(input.message)}`).not.toThrow();
  }
});
