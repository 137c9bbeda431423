/* SPDX-License-Identifier: MIT
 *
 * link.h: a pass in a chain, with the arguments that a test has for it. Other parameters that have a default are none.
 */
#ifndef CMPC_TEST_LINK_H
#define CMPC_TEST_LINK_H

#include "chain_build.h"

static inline ChainLink link_of(Program *p, const char *pass, Scope *arguments)
{
	const Decl *decl = program_find(p, DECL_PASS, name_of(p->c, pass));
	const Node *params = decl ? decl->node->kids[0] : NULL;
	for (uint32_t i = 0; params && i < params->kid_count; i++) {
		const Node *param = params->kids[i];
		Value bound;
		if (param->kids[2] && !scope_find(arguments, param->name, &bound))
			scope_bind(p->c, arguments, param->name, (Value){.kind = VALUE_NONE, .dimension = ""});
	}
	return (ChainLink){.pass = decl, .arguments = arguments};
}

#endif
