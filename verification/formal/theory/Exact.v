(** Rational numbers as real ones, and their sums over lists. *)

From Coq Require Import ZArith QArith Qround Qreals Reals List Lra Lia.
From Zetaplan Require Import Claim Sums.
Import ListNotations.
Open Scope Q_scope.

Lemma real_0 : Q2R 0 = 0%R.
Proof. unfold Q2R. cbn. lra. Qed.

Lemma real_1 : Q2R 1 = 1%R.
Proof. unfold Q2R. cbn. lra. Qed.

Lemma le_real a b : Qle_bool a b = true -> (Q2R a <= Q2R b)%R.
Proof. intro H. apply Qle_Rle. now apply Qle_bool_iff. Qed.

Definition less (a b : Q) : bool := negb (Qle_bool b a).

Lemma less_real a b : less a b = true -> (Q2R a < Q2R b)%R.
Proof.
  unfold less. intro H. apply Qlt_Rlt. apply Qnot_le_lt. intro L. apply Qle_bool_iff in L. now rewrite L in H.
Qed.

Lemma eq_real a b : Qeq_bool a b = true -> Q2R a = Q2R b.
Proof. intro H. apply Qeq_eqR. now apply Qeq_bool_iff. Qed.

Lemma neq_real a b : Qeq_bool a b = false -> Q2R a <> Q2R b.
Proof. intros H E. apply eqR_Qeq in E. apply Qeq_bool_iff in E. congruence. Qed.

Definition largest (a b : Q) : Q := if Qle_bool a b then b else a.
Definition smallest (a b : Q) : Q := if Qle_bool a b then a else b.
Definition size_of (a : Q) : Q := largest a (- a).

Lemma largest_real a b : Q2R (largest a b) = Rmax (Q2R a) (Q2R b).
Proof.
  unfold largest. destruct (Qle_bool a b) eqn:E.
  - apply le_real in E. now rewrite Rmax_right.
  - rewrite Rmax_left; [reflexivity|]. left. apply less_real. unfold less. now rewrite E.
Qed.

Lemma smallest_real a b : Q2R (smallest a b) = Rmin (Q2R a) (Q2R b).
Proof.
  unfold smallest. destruct (Qle_bool a b) eqn:E.
  - apply le_real in E. now rewrite Rmin_left.
  - rewrite Rmin_right; [reflexivity|]. left. apply less_real. unfold less. now rewrite E.
Qed.

Lemma size_of_real a : Q2R (size_of a) = Rabs (Q2R a).
Proof.
  unfold size_of. rewrite largest_real, Q2R_opp. unfold Rabs. destruct (Rcase_abs (Q2R a)).
  - apply Rmax_right. lra.
  - apply Rmax_left. lra.
Qed.

(** ** In lowest terms *)

Definition reduce (q : Q) : Q :=
  let g := Z.gcd (Qnum q) (Zpos (Qden q)) in Qmake (Qnum q / g) (Z.to_pos (Zpos (Qden q) / g)).

Lemma reduce_exact q : reduce q == q.
Proof.
  destruct q as [n d]. unfold reduce, Qeq. cbn [Qnum Qden].
  destruct (Z.gcd_divide_l n (Zpos d)) as [a A]. destruct (Z.gcd_divide_r n (Zpos d)) as [b B].
  assert (P : (0 < Z.gcd n (Zpos d))%Z).
  { pose proof (Z.gcd_nonneg n (Zpos d)). assert (Z.gcd n (Zpos d) <> 0)%Z by (intro E; apply Z.gcd_eq_0_r in E; lia).
    lia. }
  set (g := Z.gcd n (Zpos d)) in *. clearbody g.
  assert (EA : (n / g)%Z = a) by (rewrite A; apply Z.div_mul; lia).
  assert (EB : (Zpos d / g)%Z = b) by (rewrite B; apply Z.div_mul; lia).
  rewrite EA, EB, Z2Pos.id by nia. rewrite B, A. ring.
Qed.

(** ** Sums of lists *)

Definition sum_of (l : list Q) : Q := fold_right Qplus 0 l.

(** Over one common denominator. *)
Definition total_of (l : list Q) : Q :=
  let unit := common 1 l in Qmake (fold_left (fun n q => n + scaled unit q)%Z l 0%Z) (Z.to_pos unit).

Lemma total_exact l : total_of l == sum_of l.
Proof.
  unfold total_of. pose proof (common_positive l 1 ltac:(lia)) as P. pose proof (common_measures l 1) as M.
  set (unit := common 1 l) in *. clearbody unit.
  assert (H : forall n, inject_Z (fold_left (fun n q => n + scaled unit q)%Z l n) ==
    inject_Z n + sum_of l * inject_Z unit).
  { induction M as [|q l Mq _ IH]; intro n; cbn [fold_left sum_of fold_right].
    - ring.
    - rewrite IH, inject_Z_plus, scaled_exact by exact Mq. fold (sum_of l). ring. }
  specialize (H 0%Z). set (n := fold_left _ _ _) in *. clearbody n.
  assert (E : Qmake n (Z.to_pos unit) == inject_Z n * / inject_Z unit).
  { destruct unit as [|u|u]; try lia. unfold Qeq, inject_Z, Qinv, Qmult. cbn. lia. }
  rewrite E, H. change (inject_Z 0) with 0. field.
  intro Z0. apply (Qlt_irrefl 0). rewrite <- Z0 at 2. change 0 with (inject_Z 0). rewrite <- Zlt_Qlt. exact P.
Qed.

Lemma sum_first K f : sum (S K) f = (f O + sum K (fun k => f (S k)))%R.
Proof. induction K as [|K IH]; [cbn; lra|]. change (sum (S (S K)) f) with (sum (S K) f + f (S K))%R. rewrite IH. cbn. lra. Qed.

Lemma sum_of_real {A} (F : A -> Q) (l : list A) (default : A) :
  Q2R (sum_of (map F l)) = sum (length l) (fun k => Q2R (F (nth k l default))).
Proof.
  induction l as [|a l IH]; [exact real_0|]. cbn [length map sum_of fold_right].
  rewrite sum_first. rewrite Q2R_plus. fold (sum_of (map F l)). rewrite IH. reflexivity.
Qed.

(** ** Sums rounded up to multiples of a small unit *)

Definition ceilings (grid : Q) (l : list Q) : Z := fold_left (fun n q => n + Qceiling (q * grid))%Z l 0%Z.

Lemma ceilings_above grid l : sum_of l * grid <= inject_Z (ceilings grid l).
Proof.
  unfold ceilings. assert (H : forall n, inject_Z n + sum_of l * grid <=
    inject_Z (fold_left (fun n q => n + Qceiling (q * grid))%Z l n)).
  { induction l as [|q l IH]; intro n; cbn [fold_left sum_of fold_right].
    - rewrite Qmult_0_l, Qplus_0_r. apply Qle_refl.
    - eapply Qle_trans; [|apply IH]. rewrite inject_Z_plus. fold (sum_of l).
      setoid_replace (inject_Z n + (q + sum_of l) * grid) with (inject_Z n + q * grid + sum_of l * grid) by ring.
      apply Qplus_le_compat; [|apply Qle_refl]. apply Qplus_le_compat; [apply Qle_refl|apply Qle_ceiling]. }
  specialize (H 0%Z). rewrite Qplus_0_l in H. exact H.
Qed.
