(** Vectors of whole numbers of any length. An entry that is not there counts as 0, so no theorem needs lengths. *)

From Coq Require Import ZArith List Lia.
Import ListNotations.
Open Scope Z_scope.

Definition vec := list Z.

Definition entry (v : vec) (i : nat) : Z := nth i v 0.

Fixpoint add (a b : vec) : vec :=
  match a, b with
  | [], _ => b
  | _, [] => a
  | x :: a', y :: b' => x + y :: add a' b'
  end.

Definition neg (a : vec) : vec := map Z.opp a.
Definition sub (a b : vec) : vec := add a (neg b).

Fixpoint dot (p v : vec) : Z :=
  match p, v with
  | x :: p', y :: v' => x * y + dot p' v'
  | _, _ => 0
  end.

(** Componentwise products, and quotients rounded down; a unit that is not there counts as 1. *)
Fixpoint times (p u : vec) : vec :=
  match p, u with
  | x :: p', y :: u' => x * y :: times p' u'
  | _, _ => []
  end.

Fixpoint per (v u : vec) : vec :=
  match v, u with
  | x :: v', y :: u' => x / y :: per v' u'
  | _, _ => v
  end.

Definition le (a b : vec) : Prop := forall i, entry a i <= entry b i.
Definition eqv (a b : vec) : Prop := forall i, entry a i = entry b i.
Definition nonneg (p : vec) : Prop := Forall (fun x => 0 <= x) p.

Lemma entry_nil i : entry [] i = 0.
Proof. now destruct i. Qed.

Lemma entry_add a : forall b i, entry (add a b) i = entry a i + entry b i.
Proof.
  unfold entry. induction a as [|x a IH]; intros [|y b] [|i]; cbn; try lia.
  apply IH.
Qed.

Lemma entry_neg a : forall i, entry (neg a) i = - entry a i.
Proof. unfold entry. induction a as [|x a IH]; intros [|i]; cbn; auto. Qed.

Lemma entry_sub a b i : entry (sub a b) i = entry a i - entry b i.
Proof. unfold sub. rewrite entry_add, entry_neg. lia. Qed.

Lemma entry_per v : forall u i, entry (per v u) i = entry v i / nth i u 1.
Proof.
  unfold entry. induction v as [|x v IH]; intros [|y u] [|i]; cbn; rewrite ?Z.div_1_r; auto.
Qed.

Lemma dot_nil p : dot p [] = 0.
Proof. now destruct p. Qed.

Lemma dot_add p : forall a b, dot p (add a b) = dot p a + dot p b.
Proof.
  induction p as [|x p IH]; intros [|y a] [|z b]; cbn; try lia.
  rewrite IH. lia.
Qed.

Lemma dot_zero p : forall d, (forall i, entry d i = 0) -> dot p d = 0.
Proof.
  induction p as [|x p IH]; intros [|y d] H; cbn; auto.
  rewrite (IH d (fun i => H (S i))). specialize (H O). cbn in H. lia.
Qed.

Lemma dot_neg p : forall d, dot p (neg d) = - dot p d.
Proof. induction p as [|x p IH]; intros [|y d]; cbn; auto. rewrite IH. lia. Qed.

Lemma dot_eqv p a b : eqv a b -> dot p a = dot p b.
Proof.
  intro H. assert (K : dot p (sub a b) = 0) by (apply dot_zero; intro i; rewrite entry_sub, (H i); lia).
  unfold sub in K. rewrite dot_add, dot_neg in K. lia.
Qed.

(** With prices of at least 0, what is within a limit costs at most what the limit costs. *)
Lemma dot_le p : nonneg p -> forall a b, le a b -> dot p a <= dot p b.
Proof.
  intros good a b H.
  assert (rest : 0 <= dot p (sub b a)).
  { assert (K : forall i, 0 <= entry (sub b a) i) by (intro i; rewrite entry_sub; specialize (H i); lia).
    clear H. revert K. generalize (sub b a) as d. induction good as [|x p Hx _ IH]; intros [|y d] K; cbn; try lia.
    specialize (IH d (fun i => K (S i))). pose proof (K O) as K0. cbn in K0. nia. }
  rewrite <- (dot_eqv p (add a (sub b a)) b).
  - rewrite dot_add. lia.
  - intro i. rewrite entry_add, entry_sub. lia.
Qed.

Lemma nonneg_times p : nonneg p -> forall u, nonneg u -> nonneg (times p u).
Proof.
  unfold nonneg. induction 1 as [|x p Hx _ IH]; intros u Hu; [constructor|].
  destruct Hu as [|y u Hy Hu]; cbn; constructor; [nia|auto].
Qed.

Lemma le_refl a : le a a.
Proof. intro i. lia. Qed.

Lemma le_trans a b c : le a b -> le b c -> le a c.
Proof. intros H K i. specialize (H i). specialize (K i). lia. Qed.

Lemma add_le a b c d : le a b -> le c d -> le (add a c) (add b d).
Proof. intros H K i. rewrite !entry_add. specialize (H i). specialize (K i). lia. Qed.

Fixpoint leb (a b : vec) : bool :=
  match a, b with
  | [], [] => true
  | x :: a', y :: b' => (x <=? y) && leb a' b'
  | _, _ => false
  end.

Lemma leb_le a : forall b, leb a b = true -> le a b.
Proof.
  induction a as [|x a IH]; intros [|y b] H; try discriminate; [apply le_refl|].
  cbn in H. apply andb_prop in H as [H K]. intros [|i].
  - apply Z.leb_le in H. exact H.
  - exact (IH b K i).
Qed.

(** The order of lists, and equality in it, for merging. *)
Fixpoint lex (a b : vec) : comparison :=
  match a, b with
  | [], [] => Eq
  | [], _ => Lt
  | _, [] => Gt
  | x :: a', y :: b' => match x ?= y with Eq => lex a' b' | c => c end
  end.

Lemma lex_eq a : forall b, lex a b = Eq -> a = b.
Proof.
  induction a as [|x a IH]; intros [|y b] H; try discriminate; auto.
  cbn in H. destruct (x ?= y) eqn:C; try discriminate.
  apply Z.compare_eq in C. subst. f_equal. auto.
Qed.
