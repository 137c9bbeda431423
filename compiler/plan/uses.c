/* SPDX-License-Identifier: MIT
 *
 * uses.c: the declarations that something rests on, found by the names in it. More
 * may be found than are meant (a local name may be that of a function), never less.
 * So a dtype can be written down beside its bytes, and a plan as a file of its own.
 */
#include "net.h"

static void collect_uses(const Program *p, const Node *node, DeclVec *to)
{
	static const DeclKind kinds[] = {DECL_FN, DECL_LET, DECL_DTYPE};
	for (size_t i = 0; node->kind == N_NAME && i < sizeof kinds / sizeof *kinds; i++) {
		const Decl *used = program_find(p, kinds[i], node->name);
		bool is_type = used && kinds[i] == DECL_DTYPE && used->is_stdlib; /* most of stdlib's are storage types too */
		if (used && !is_type)
			uses_of(p, used, to);
	}
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (node->kids[i])
			collect_uses(p, node->kids[i], to);
}

void uses_of(const Program *p, const Decl *decl, DeclVec *to)
{
	for (size_t i = 0; i < to->count; i++)
		if (to->at[i] == decl)
			return;
	vec_push(p->c->arena, to, (Decl *)decl);
	collect_uses(p, decl->node, to);
}

static void uses_of_value(const Program *p, const Value *value, DeclVec *to)
{
	if (value->kind == VALUE_DTYPE)
		uses_of(p, value->dtype->decl, to);
	for (size_t i = 0; value->kind == VALUE_LIST && i < value->count; i++)
		uses_of_value(p, &value->items[i], to);
}

static bool is_used(const DeclVec *used, const Decl *decl)
{
	bool is_found = decl->kind == DECL_ROLES; /* which way round a tensor lies */
	for (size_t i = 0; i < used->count && !is_found; i++)
		is_found = used->at[i] == decl;
	return is_found;
}

static void uses_of_call(const Program *p, const Statement *statement, const Scope *arguments, DeclVec *to)
{
	uses_of(p, statement->pass, to);
	for (size_t i = 0; i < arguments->names.count; i++)
		uses_of_value(p, &arguments->names.at[i].value, to);
}

void plan_uses(const Plan *plan, DeclVec *to)
{
	DeclVec used = {0};
	for (size_t i = 0; i < plan->tensors.count; i++)
		for (size_t l = 0; l < plan->tensors.at[i].links.count; l++) {
			const PlanLink *link = &plan->tensors.at[i].links.at[l];
			uses_of_call(plan->p, link->statement, link->arguments, &used);
		}
	for (size_t i = 0; i < plan->families.count; i++)
		uses_of_call(plan->p, plan->families.at[i].statement, plan->families.at[i].arguments, &used);
	if (plan->net)
		uses_of(plan->p, plan->net->decl, &used);
	for (size_t i = 0; i < plan->requires.count; i++)
		collect_uses(plan->p, plan->requires.at[i].node, &used);
	const Node *host = plan->pipeline->node->kids[2];
	const Decl *machines[] = {plan->target, host ? program_find(plan->p, DECL_TARGET, host->name) : NULL};
	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
		if (machines[i])
			uses_of(plan->p, machines[i], &used);
	for (size_t i = 0; i < plan->p->decls.count; i++)
		if (!plan->p->decls.at[i]->is_stdlib && is_used(&used, plan->p->decls.at[i]))
			vec_push(plan->c->arena, to, plan->p->decls.at[i]);
}
