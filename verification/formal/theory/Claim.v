(** What a certificate of a choice claims, over the rational numbers, and its data in whole numbers of a small unit. *)

From Coq Require Import ZArith QArith List Lia.
From Zetaplan Require Import Vectors Sweep Json.
Import ListNotations.
Open Scope Q_scope.

(** An option is a row: its costs, one for every budget, and then its loss; [None] is an option that is ruled out. *)
Definition row := list Q.

Record certificate := {
  menus : list (list (option row));
  budgets : list Q;
  plan : list Z;
  gap : Q;
  proof : json
}.

(** What rows add up to in one column. *)
Definition column (i : nat) (rows : list row) : Q := fold_right (fun r s => nth i r 0 + s) 0 rows.

Definition keeps_budgets (limits : list Q) (rows : list row) : Prop :=
  forall i, (i < length limits)%nat -> column i rows <= nth i limits 0.

Definition loss (limits : list Q) (rows : list row) : Q := column (length limits) rows.

(** One option of each menu, of those that are not ruled out. *)
Definition choice (ms : list (list (option row))) (rows : list row) : Prop :=
  Forall2 (fun m r => In (Some r) m) ms rows.

(** The rows of the plan's options, by their places. *)
Definition rows_of_plan (c : certificate) (rows : list row) : Prop :=
  Forall2 (fun m_j r => (0 <= snd m_j)%Z /\ nth_error (fst m_j) (Z.to_nat (snd m_j)) = Some (Some r))
    (combine (menus c) (plan c)) rows /\ length (menus c) = length (plan c).

(** The plan takes one option of each menu and keeps the budgets, and no choice within the budgets loses less by more
    than the gap. *)
Definition claim (c : certificate) : Prop :=
  exists rows, rows_of_plan c rows /\ keeps_budgets (budgets c) rows /\
  forall others, choice (menus c) others -> keeps_budgets (budgets c) others ->
  loss (budgets c) rows - gap c <= loss (budgets c) others.

(** ** In whole numbers of a unit *)

Definition scaled (unit : Z) (q : Q) : Z := (Qnum q * unit / Zpos (Qden q))%Z.

(** [unit] parts of one are a whole multiple of this fraction's. *)
Definition measures (unit : Z) (q : Q) : Prop := (Zpos (Qden q) | unit)%Z.

Lemma scaled_exact unit q : measures unit q -> inject_Z (scaled unit q) == q * inject_Z unit.
Proof.
  intros [k ->]. unfold scaled. rewrite Z.mul_assoc, Z.div_mul by lia.
  unfold Qeq, inject_Z. cbn. lia.
Qed.

Lemma scaled_le unit a b : (0 < unit)%Z -> measures unit a -> measures unit b -> a <= b ->
  (scaled unit a <= scaled unit b)%Z.
Proof.
  intros H A B L. rewrite Zle_Qle, !scaled_exact by assumption. apply Qmult_le_compat_r; [exact L|].
  change 0 with (inject_Z 0). rewrite <- Zle_Qle. lia.
Qed.

Definition total (rows : list vec) : vec := fold_right add [] rows.

Lemma entry_scaled unit r i : entry (map (scaled unit) r) i = scaled unit (nth i r 0).
Proof. unfold entry. rewrite <- (map_nth (scaled unit)). f_equal. Qed.

Lemma column_scaled unit rows i : Forall (Forall (measures unit)) rows ->
  inject_Z (entry (total (map (map (scaled unit)) rows)) i) == column i rows * inject_Z unit.
Proof.
  induction 1 as [|r rows M _ IH]; cbn [map total fold_right column].
  - unfold column. cbn [fold_right]. rewrite entry_nil, Qmult_0_l. reflexivity.
  - rewrite entry_add, inject_Z_plus. unfold total in IH. rewrite IH, entry_scaled, scaled_exact.
    + fold (column i rows). ring.
    + destruct (nth_in_or_default i r 0) as [I| ->].
      * rewrite Forall_forall in M. now apply M.
      * exists unit. cbn. lia.
Qed.

(** The least common multiple of denominators. *)
Definition common (unit : Z) (qs : list Q) : Z := fold_left (fun u q => Z.lcm u (Zpos (Qden q))) qs unit.

Lemma common_divides qs : forall unit, (unit | common unit qs)%Z.
Proof.
  induction qs as [|q qs IH]; intro unit; cbn; [apply Z.divide_refl|].
  eapply Z.divide_trans; [|apply IH]. apply Z.divide_lcm_l.
Qed.

Lemma common_measures qs : forall unit, Forall (measures (common unit qs)) qs.
Proof.
  induction qs as [|q qs IH]; intro unit; cbn; constructor; [|apply IH].
  unfold measures. eapply Z.divide_trans; [|apply common_divides]. apply Z.divide_lcm_r.
Qed.

Lemma common_positive qs : forall unit, (0 < unit)%Z -> (0 < common unit qs)%Z.
Proof.
  induction qs as [|q qs IH]; intros unit H; cbn; [exact H|]. apply IH.
  assert (N : Z.lcm unit (Zpos (Qden q)) <> 0%Z) by (rewrite Z.lcm_eq_0; lia).
  pose proof (Z.lcm_nonneg unit (Zpos (Qden q))). lia.
Qed.

Lemma measures_multiple unit more q : (unit | more)%Z -> measures unit q -> measures more q.
Proof. unfold measures. intros H K. eapply Z.divide_trans; eassumption. Qed.
