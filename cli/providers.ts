import type { Placement } from '../api/integration.ts';

/** One secret of a provider: the environment variables it is usually in (the first is the one that its SDK reads), and how its keys begin. */
export interface ProviderKey {
  field: string;
  variables: readonly string[];
  prefixes?: readonly string[];
}

/** An API that agents use, as data: what `import` recognises, what `run` sets and warns about. */
export interface Provider {
  name: string;
  /** The tag that starter objects ask for. */
  tag: string;
  keys: readonly ProviderKey[];
  hosts: readonly string[];
  inject: readonly Placement[];
  /** Other hosts of the same key that want it in another place; each becomes an Integration `NAME-SUFFIX`. */
  more?: readonly { suffix: string; hosts: readonly string[]; inject: readonly Placement[] }[];
  /** Variables that point the SDK at another host, which the key is then for. */
  baseUrls?: readonly string[];
  /** Variable whose value is the user name of basic authentication: no secret, it stays where it is. */
  usernameVariable?: string;
}

const bearer: Placement[] = [{ bearer: {} }];
const header = (name: string, format?: string): Placement[] => [
  { header: format === undefined ? { name } : { name, format } },
];
const query = (name: string): Placement[] => [{ query: { name } }];

/** A provider with one key in the default field. */
function one(
  tag: string,
  name: string,
  variables: readonly string[],
  prefixes: readonly string[],
  hosts: readonly string[],
  inject: readonly Placement[] = bearer,
  rest: Partial<Provider> = {},
): Provider {
  const key = { field: 'value', variables, ...(prefixes.length > 0 && { prefixes }) };
  return { name, tag, keys: [key], hosts, inject, ...rest };
}

/** From the vendors' API references. Prefixes are those that tell a key of this provider from all others; `sk-` alone does not. */
export const PROVIDERS: readonly Provider[] = [
  one(
    'llm',
    'anthropic',
    ['ANTHROPIC_API_KEY', 'CLAUDE_API_KEY'],
    ['sk-ant-'],
    ['api.anthropic.com'],
    header('x-api-key'),
    {
      baseUrls: ['ANTHROPIC_BASE_URL'],
    },
  ),
  one('llm', 'openrouter', ['OPENROUTER_API_KEY'], ['sk-or-'], ['openrouter.ai']),
  one('llm', 'openai', ['OPENAI_API_KEY', 'OPENAI_KEY'], ['sk-proj-', 'sk-svcacct-'], ['api.openai.com'], bearer, {
    baseUrls: ['OPENAI_BASE_URL', 'OPENAI_API_BASE'],
  }),
  one(
    'llm',
    'gemini',
    ['GEMINI_API_KEY', 'GOOGLE_API_KEY'],
    [],
    ['generativelanguage.googleapis.com'],
    header('x-goog-api-key'),
  ),
  one('llm', 'mistral', ['MISTRAL_API_KEY'], [], ['api.mistral.ai']),
  one('llm', 'cohere', ['CO_API_KEY', 'COHERE_API_KEY'], [], ['api.cohere.com', 'api.cohere.ai']),
  one('llm', 'groq', ['GROQ_API_KEY'], ['gsk_'], ['api.groq.com']),
  one('llm', 'together', ['TOGETHER_API_KEY', 'TOGETHERAI_API_KEY'], [], ['api.together.xyz', 'api.together.ai']),
  one('llm', 'fireworks', ['FIREWORKS_API_KEY'], ['fw_'], ['api.fireworks.ai']),
  one('llm', 'deepseek', ['DEEPSEEK_API_KEY'], [], ['api.deepseek.com']),
  one('llm', 'xai', ['XAI_API_KEY'], ['xai-'], ['api.x.ai']),
  one('llm', 'perplexity', ['PERPLEXITY_API_KEY', 'PPLX_API_KEY'], ['pplx-'], ['api.perplexity.ai']),
  one('llm', 'voyage', ['VOYAGE_API_KEY'], [], ['api.voyageai.com']),
  one('llm', 'replicate', ['REPLICATE_API_TOKEN'], ['r8_'], ['api.replicate.com']),
  one(
    'llm',
    'huggingface',
    ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HUGGINGFACEHUB_API_TOKEN', 'HUGGINGFACE_API_KEY'],
    ['hf_'],
    ['huggingface.co', 'router.huggingface.co', 'api-inference.huggingface.co'],
  ),
  one(
    'llm',
    'langsmith',
    ['LANGSMITH_API_KEY', 'LANGCHAIN_API_KEY'],
    ['lsv2_'],
    ['api.smith.langchain.com'],
    header('x-api-key'),
  ),
  one(
    'speech',
    'elevenlabs',
    ['ELEVENLABS_API_KEY', 'ELEVEN_API_KEY'],
    [],
    ['api.elevenlabs.io'],
    header('xi-api-key'),
  ),
  one('speech', 'deepgram', ['DEEPGRAM_API_KEY'], [], ['api.deepgram.com'], header('Authorization', 'Token {value}')),
  one('speech', 'assemblyai', ['ASSEMBLYAI_API_KEY'], [], ['api.assemblyai.com'], header('Authorization', '{value}')),
  one(
    'code',
    'github',
    ['GITHUB_TOKEN', 'GH_TOKEN', 'GITHUB_PAT', 'GITHUB_API_TOKEN', 'GITHUB_PERSONAL_ACCESS_TOKEN'],
    ['ghp_', 'github_pat_', 'gho_', 'ghs_'],
    ['api.github.com', 'uploads.github.com'],
    bearer,
    { more: [{ suffix: 'git', hosts: ['github.com'], inject: [{ basic: { username: 'x-access-token' } }] }] },
  ),
  one(
    'code',
    'gitlab',
    ['GITLAB_TOKEN', 'GITLAB_API_TOKEN', 'GITLAB_PRIVATE_TOKEN'],
    ['glpat-'],
    ['gitlab.com'],
    header('PRIVATE-TOKEN'),
  ),
  one('code', 'sentry', ['SENTRY_AUTH_TOKEN'], ['sntrys_', 'sntryu_'], ['sentry.io']),
  one('cloud', 'cloudflare', ['CLOUDFLARE_API_TOKEN', 'CF_API_TOKEN'], [], ['api.cloudflare.com']),
  one('cloud', 'vercel', ['VERCEL_TOKEN'], [], ['api.vercel.com']),
  one('cloud', 'netlify', ['NETLIFY_AUTH_TOKEN'], ['nfp_'], ['api.netlify.com']),
  one(
    'cloud',
    'digitalocean',
    ['DIGITALOCEAN_ACCESS_TOKEN', 'DIGITALOCEAN_TOKEN', 'DO_API_TOKEN'],
    ['dop_v1_'],
    ['api.digitalocean.com'],
  ),
  one('cloud', 'heroku', ['HEROKU_API_KEY'], ['HRKU-'], ['api.heroku.com']),
  {
    name: 'datadog',
    tag: 'cloud',
    keys: [
      { field: 'api', variables: ['DD_API_KEY', 'DATADOG_API_KEY'] },
      { field: 'app', variables: ['DD_APP_KEY', 'DATADOG_APP_KEY'] },
    ],
    hosts: ['api.datadoghq.com'],
    inject: [
      { header: { name: 'DD-API-KEY', field: 'api' } },
      { header: { name: 'DD-APPLICATION-KEY', field: 'app' } },
    ],
  },
  one(
    'payments',
    'stripe',
    ['STRIPE_API_KEY', 'STRIPE_SECRET_KEY'],
    ['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_'],
    ['api.stripe.com', 'files.stripe.com'],
  ),
  one('mail', 'sendgrid', ['SENDGRID_API_KEY'], ['SG.'], ['api.sendgrid.com']),
  one('mail', 'mailgun', ['MAILGUN_API_KEY'], [], ['api.mailgun.net'], [{ basic: { username: 'api' } }]),
  one('mail', 'resend', ['RESEND_API_KEY'], ['re_'], ['api.resend.com']),
  one(
    'mail',
    'postmark',
    ['POSTMARK_SERVER_TOKEN', 'POSTMARK_API_TOKEN'],
    [],
    ['api.postmarkapp.com'],
    header('X-Postmark-Server-Token'),
  ),
  one(
    'chat',
    'slack',
    ['SLACK_BOT_TOKEN', 'SLACK_TOKEN', 'SLACK_API_TOKEN'],
    ['xoxb-', 'xoxp-'],
    ['slack.com', 'files.slack.com'],
  ),
  one(
    'chat',
    'discord',
    ['DISCORD_TOKEN', 'DISCORD_BOT_TOKEN'],
    [],
    ['discord.com'],
    header('Authorization', 'Bot {value}'),
  ),
  one(
    'chat',
    'telegram',
    ['TELEGRAM_BOT_TOKEN', 'TELEGRAM_TOKEN'],
    [],
    ['api.telegram.org'],
    [{ placeholder: { in: ['Path'] } }],
  ),
  one('chat', 'twilio', ['TWILIO_AUTH_TOKEN'], [], ['api.twilio.com'], [{ basic: {} }], {
    usernameVariable: 'TWILIO_ACCOUNT_SID',
  }),
  one('work', 'notion', ['NOTION_API_KEY', 'NOTION_TOKEN'], ['ntn_'], ['api.notion.com']),
  one('work', 'linear', ['LINEAR_API_KEY'], ['lin_api_'], ['api.linear.app'], header('Authorization', '{value}')),
  one('work', 'airtable', ['AIRTABLE_API_KEY', 'AIRTABLE_TOKEN'], [], ['api.airtable.com']),
  one('work', 'asana', ['ASANA_ACCESS_TOKEN', 'ASANA_TOKEN'], [], ['app.asana.com']),
  one('work', 'hubspot', ['HUBSPOT_ACCESS_TOKEN', 'HUBSPOT_API_KEY'], ['pat-na1-', 'pat-eu1-'], ['api.hubapi.com']),
  one(
    'search',
    'brave',
    ['BRAVE_API_KEY', 'BRAVE_SEARCH_API_KEY'],
    [],
    ['api.search.brave.com'],
    header('X-Subscription-Token'),
  ),
  one('search', 'tavily', ['TAVILY_API_KEY'], ['tvly-'], ['api.tavily.com']),
  one('search', 'exa', ['EXA_API_KEY'], [], ['api.exa.ai'], header('x-api-key')),
  one('search', 'serper', ['SERPER_API_KEY'], [], ['google.serper.dev'], header('X-API-KEY')),
  one('search', 'serpapi', ['SERPAPI_API_KEY', 'SERPAPI_KEY'], [], ['serpapi.com'], query('api_key')),
  one('search', 'firecrawl', ['FIRECRAWL_API_KEY'], ['fc-'], ['api.firecrawl.dev']),
  one(
    'data',
    'openweather',
    ['OPENWEATHER_API_KEY', 'OPENWEATHERMAP_API_KEY'],
    [],
    ['api.openweathermap.org'],
    query('appid'),
  ),
];

/** The key that a variable holds, by its name or else by how its value begins. */
export function recognise(
  name: string,
  value: string,
): { provider: Provider; key: ProviderKey; by: 'name' | 'value' } | undefined {
  for (const provider of PROVIDERS) {
    for (const key of provider.keys) {
      if (key.variables.includes(name)) return { provider, key, by: 'name' };
    }
  }
  for (const provider of PROVIDERS) {
    for (const key of provider.keys) {
      if (looksLike(key, value)) return { provider, key, by: 'value' };
    }
  }
  return undefined;
}

/** Shorter texts with a key's prefix are words, not keys. */
const KEY_LENGTH = 20;

export function looksLike(key: ProviderKey, value: string): boolean {
  return (
    value.length >= KEY_LENGTH &&
    /^[\x21-\x7e]+$/.test(value) &&
    (key.prefixes ?? []).some((prefix) => value.startsWith(prefix))
  );
}

/** Every host that a key of the provider is for. */
export function hostsOf(provider: Provider): string[] {
  return [...provider.hosts, ...(provider.more ?? []).flatMap((more) => more.hosts)];
}
