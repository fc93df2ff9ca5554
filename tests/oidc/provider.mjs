// A certified OpenID provider (oidc-provider) on this machine, for the tests: confidential clients, PKCE required, and
// accounts as the test gives them. Signing in is one POST per prompt, since nobody is there to look at pages.
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const accounts = () => JSON.parse(readFileSync(settings.accounts, "utf8"));

const provider = new Provider(settings.issuer, {
  clients: settings.clients.map((client) => ({
    ...client, grant_types: ["authorization_code"], response_types: ["code"],
  })),
  claims: { openid: ["sub", "amr", "acr"], profile: ["preferred_username", "groups"], email: ["email"] },
  conformIdTokenClaims: false, // the groups belong in the ID token: nobody asks for the user info
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  async findAccount(ctx, sub) {
    const known = accounts()[sub];
    return known && { accountId: sub, claims: async () => ({ sub, ...known.claims }) };
  },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const { prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === "login") {
    const { current } = JSON.parse(readFileSync(settings.current, "utf8"));
    const { amr, acr } = accounts()[current];
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: current, amr, acr } });
  }
  const grant = grantId ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } });
});

const address = new URL(settings.issuer);
provider.listen(Number(address.port), address.hostname, () => console.log("ready"));
